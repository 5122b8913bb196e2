// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets to whole messages: one thread, one task for each socket and each TCP session.
//!
//! A message goes into the bounded queue; a task waits while the queue is full. So a slow sink slows TCP exporters down,
//! and lets the kernel drop datagrams, which [`crate::kernel`] counts. Nothing is dropped here.
//!
//! On a stop every socket is read until it has nothing more: UDP until it would block, TCP until the exporter closes or is
//! silent for [`Config::drain_quiet`](crate::Config::drain_quiet).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use weir_ipfix::message::{HEADER_LEN, Header, MAX_MESSAGE};

use crate::{Config, Listen, Peer, Received, handle::Shared};

/// Octets of room before each read of a TCP session: a session that is idle holds this much, a busy one a message more.
const READ: usize = 16 << 10;

/// What the decoding thread is told.
pub(crate) enum Item {
    Message(Peer, Bytes),
    Closed(Peer),
    Tick,
}

/// A bound socket.
pub(crate) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Binds one socket; IPv6 addresses take IPv4 too. Where the machine has no IPv6, `[::]` is 0.0.0.0.
pub(crate) fn bind(listen: Listen, receive_buffer: usize) -> io::Result<Bound> {
    match bind_to(listen, listen.address(), receive_buffer) {
        Err(_) if listen.address().is_ipv6() && listen.address().ip().is_unspecified() && !has_ipv6() => {
            bind_to(listen, SocketAddr::new([0, 0, 0, 0].into(), listen.address().port()), receive_buffer)
        }
        result => result,
    }
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, None).is_ok()
}

fn bind_to(listen: Listen, address: SocketAddr, receive_buffer: usize) -> io::Result<Bound> {
    let kind = match listen {
        Listen::Tcp(_) => Type::STREAM,
        Listen::Udp(_) => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    match listen {
        Listen::Tcp(_) => {
            // A restart must not wait for old connections to time out.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(128)?;
            Ok(Bound::Tcp(socket.into()))
        }
        Listen::Udp(_) => {
            // The kernel gives less if it must not give more; what it gave is in the snapshot.
            socket.set_recv_buffer_size(receive_buffer).ok();
            socket.bind(&address.into())?;
            Ok(Bound::Udp(socket.into()))
        }
    }
}

/// What every task has.
#[derive(Clone)]
struct Context {
    config: Arc<Config>,
    queue: mpsc::Sender<Item>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// Open TCP sessions by address.
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Context {
    fn count(&self, counter: fn(&mut Received) -> &mut u64) {
        self.shared.received(|received, _| *counter(received) += 1);
    }

    /// Until the stop; at once if it was before.
    async fn stopped(&mut self) {
        self.stop.wait_for(|stop| *stop).await.ok();
    }
}

/// Runs until `stop` is true and everything in flight has been queued, or the decoding thread is gone.
pub(crate) async fn run(
    config: Arc<Config>,
    sockets: Vec<Bound>,
    queue: mpsc::Sender<Item>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let context = Context { config, queue, shared, stop, open: Arc::default() };
    let mut tasks = JoinSet::new();
    for socket in sockets {
        match socket {
            Bound::Tcp(listener) => tasks.spawn(accept(listener, context.clone())),
            Bound::Udp(socket) => tasks.spawn(datagrams(socket, context.clone())),
        };
    }
    let ticks = tokio::spawn(tick(context));
    while tasks.join_next().await.is_some() {}
    ticks.abort();
}

async fn tick(context: Context) {
    let mut interval = tokio::time::interval(context.config.tick.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // A full queue is news enough: the sink sees records.
        context.queue.try_send(Item::Tick).ok();
    }
}

async fn datagrams(socket: UdpSocket, mut context: Context) {
    let mut buffer = vec![0; MAX_MESSAGE + 1];
    let Ok(socket) = tokio::net::UdpSocket::from_std(socket) else { return context.count(|r| &mut r.socket_errors) };
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = context.stopped() => break,
        };
        match received {
            Ok((len, from)) => {
                if !datagram(&buffer, len, from, &context).await {
                    return;
                }
            }
            Err(_) => context.count(|r| &mut r.socket_errors),
        }
    }
    // Asked of the system itself, not of the runtime, which may not have heard yet of what is there.
    let Ok(socket) = socket.into_std() else { return };
    let deadline = Instant::now() + context.config.drain;
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        if !datagram(&buffer, len, from, &context).await || Instant::now() >= deadline {
            return;
        }
    }
}

async fn datagram(buffer: &[u8], len: usize, from: SocketAddr, context: &Context) -> bool {
    context.count(|r| &mut r.datagrams);
    let octets = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
    context.queue.send(Item::Message(Peer::Udp(from), octets)).await.is_ok()
}

async fn accept(listener: TcpListener, mut context: Context) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return context.count(|r| &mut r.socket_errors);
    };
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => open(stream, address, &context, &mut sessions),
                Err(_) => {
                    context.count(|r| &mut r.socket_errors);
                    // Out of file descriptors: asking again at once would only burn the processor.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = sessions.join_next() => {}
            () = context.stopped() => break,
        }
    }
    let deadline = Instant::now() + context.config.drain;
    if let Ok(listener) = listener.into_std() {
        // Connections that the kernel has accepted and nobody has taken.
        while let Ok((stream, address)) = listener.accept() {
            if let Ok(stream) = nonblocking(stream) {
                open(stream, address, &context, &mut sessions);
            }
        }
    }
    while let Ok(Some(_)) = timeout_at(deadline, sessions.join_next()).await {}
    for _ in 0..sessions.len() {
        context.count(|r| &mut r.cut_by_stop);
    }
    sessions.shutdown().await;
}

fn nonblocking(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn open(stream: tokio::net::TcpStream, address: SocketAddr, context: &Context, sessions: &mut JoinSet<()>) {
    let limits = &context.config.limits;
    let host = address.ip().to_canonical();
    {
        let mut open = context.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= limits.tcp_sessions {
            return context.count(|r| &mut r.sessions_refused_by_cap);
        }
        let of_host = open.entry(host).or_default();
        if *of_host >= limits.tcp_sessions_per_address {
            return context.count(|r| &mut r.sessions_refused_by_address_cap);
        }
        *of_host += 1;
    }
    let connection = context.shared.received(|received, open| {
        received.sessions_accepted += 1;
        *open += 1;
        received.sessions_accepted
    });
    // An exporter that lost its power says nothing; the kernel finds out.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok();
    let context = context.clone();
    sessions.spawn(async move {
        let peer = Peer::Tcp { connection, address };
        let mut open = Open { host, context };
        let counter = session(stream, peer, &mut open.context).await;
        open.context.queue.send(Item::Closed(peer)).await.ok();
        open.context.count(counter);
    });
}

/// Counts a session as open as long as it lives, however it ends.
struct Open {
    host: IpAddr,
    context: Context,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.context.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_host) = open.get_mut(&self.host) {
            *of_host = of_host.saturating_sub(1);
            if *of_host == 0 {
                open.remove(&self.host);
            }
        }
        drop(open);
        self.context.shared.received(|_, open| *open = open.saturating_sub(1));
    }
}

/// Reads messages until the session ends, and says which counter tells why.
async fn session(
    mut stream: tokio::net::TcpStream,
    peer: Peer,
    context: &mut Context,
) -> fn(&mut Received) -> &mut u64 {
    let config = Arc::clone(&context.config);
    let mut buffer = BytesMut::new();
    let mut stopping = false;
    // When the message that is coming must be complete, or must have begun.
    let mut deadline = Instant::now() + config.tcp_idle;
    loop {
        let len = match claimed(&buffer) {
            Ok(len) => len,
            Err(_) => return |r| &mut r.disconnected_bad_header,
        };
        if buffer.len() >= len {
            let message = buffer.split_to(len).freeze();
            context.count(|r| &mut r.stream_messages);
            if context.queue.send(Item::Message(peer, message)).await.is_err() {
                return |r| &mut r.closed_by_stop;
            }
            deadline = Instant::now() + if buffer.is_empty() { config.tcp_idle } else { config.tcp_half_message };
            continue;
        }
        let was_empty = buffer.is_empty();
        // Grows with what comes, not with what is claimed.
        buffer.reserve(READ);
        let read = tokio::select! {
            read = timeout(quiet(stopping, &config), stream.read_buf(&mut buffer)) => read,
            () = context.stopped(), if !stopping => {
                stopping = true;
                continue;
            }
            () = sleep_until(deadline) => {
                return if was_empty { |r| &mut r.disconnected_idle } else { |r| &mut r.disconnected_half_message };
            }
        };
        match read {
            Ok(Ok(0)) if was_empty => return |r| &mut r.sessions_closed,
            Ok(Ok(0)) => return |r| &mut r.ended_within_message,
            Ok(Ok(_)) if was_empty => deadline = Instant::now() + config.tcp_half_message,
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return |r| &mut r.failed_sessions,
            Err(_) if !stopping => {}
            Err(_) if was_empty => return |r| &mut r.closed_by_stop,
            Err(_) => return |r| &mut r.ended_within_message,
        }
    }
}

fn quiet(stopping: bool, config: &Config) -> Duration {
    if stopping { config.drain_quiet } else { config.tcp_idle }
}

/// Octets of the message at the start of `buffer`, as it claims; of the header alone, as long as that is not there.
///
/// The version is looked at as soon as it has come: who sends something else is not waited for.
fn claimed(buffer: &[u8]) -> Result<usize, ()> {
    let version = weir_ipfix::message::VERSION.to_be_bytes();
    if buffer.iter().zip(version).any(|(a, b)| *a != b) {
        return Err(());
    }
    if buffer.len() < HEADER_LEN {
        return Ok(HEADER_LEN);
    }
    Header::parse_claim(buffer).map(|header| header.length.into()).map_err(|_| ())
}
