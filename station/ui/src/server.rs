// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server: HTTP/1.1 over TCP, on a thread and a runtime of its own, so that questions hold up nobody who collects.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
};

use crate::{
    StatusSource,
    api::{self, Api, Failure, Limits},
    guard::guard,
};

/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Most time for the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(20);
/// Most octets of a head: a filter in an address can be long.
const MAX_HEAD: usize = 64 << 10;
/// What a question that runs has to notice that nobody waits for it.
const STOP: Duration = Duration::from_secs(2);

const ASSETS: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../assets/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../assets/app.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
];

/// What a console serves, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 is one that the system chooses.
    pub address: SocketAddr,
    /// Whether an address is allowed that other machines reach. There is neither TLS nor a login.
    pub without_tls: bool,
    /// The store.
    pub data: PathBuf,
}

/// Why a console did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The socket could not be bound.
    #[error("console: cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The address is not one of this machine only.
    #[error("console: other machines can reach {0}, and the console has neither TLS nor a login yet")]
    NotLoopback(SocketAddr),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] weir_store::Error),
    /// The thread or its runtime could not be started.
    #[error("console: cannot start a thread: {0}")]
    Thread(io::Error),
}

/// A running console. It ends when it is dropped.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Listens, and answers from the store. `status` tells of the other stages; `None` where there are none.
    ///
    /// # Errors
    ///
    /// If the address is not allowed or not free, there is no store, or a thread cannot be started.
    pub fn start(config: Config, status: Option<StatusSource>) -> Result<Self, StartError> {
        Self::start_with(config, status, Limits::default())
    }

    pub(crate) fn start_with(config: Config, status: Option<StatusSource>, limits: Limits) -> Result<Self, StartError> {
        let address = config.address;
        if !address.ip().is_loopback() && !config.without_tls {
            return Err(StartError::NotLoopback(address));
        }
        weir_store::Store::open(&config.data)?;
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = bind().map_err(|source| StartError::Bind { address, source })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("weir-console")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let app = app(Arc::new(Api::new(config.data, status, limits)));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("weir-console".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, app, stopped));
            runtime.shutdown_timeout(STOP);
        });
        Ok(Self { address, stop: Some(stop), thread: Some(thread.map_err(StartError::Thread)?) })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic has been reported on its thread.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn app(api: Arc<Api>) -> Router {
    let mut app = api::routes(api);
    for &(path, kind, text) in ASSETS {
        app = app.route(path, get(move || async move { ([(CONTENT_TYPE, kind)], text) }));
    }
    app.fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(middleware::from_fn(guard))
}

/// Serves until `stopped` is dropped; then all connections are closed.
async fn serve(listener: TcpListener, app: Router, mut stopped: oneshot::Receiver<()>) {
    /// What passes before another attempt to accept, when there are too many open files.
    const PAUSE: Duration = Duration::from_millis(100);
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept = async || {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((listener.accept().await?.0, place))
    };
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = accept() => match accepted {
                Ok((stream, place)) => drop(connections.spawn(connection(stream, app.clone(), place))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, app: Router, place: OwnedSemaphorePermit) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .await;
    // A connection that breaks concerns the browser, which says so.
    drop(served);
    drop(place);
}
