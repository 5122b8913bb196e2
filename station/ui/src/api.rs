// SPDX-License-Identifier: MIT OR Apache-2.0
//! The API: JSON over GET. The reference is `docs/console.md`.
//!
//! Bounds: at most [`Limits::running`] questions to the store at a time, [`Limits::waiting`] more wait; each has
//! [`Limits::time`] and an answer of [`Limits::octets`]. A question that nobody waits for any more is given up.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use weir_flow::Timestamp;
use weir_store::{Error, Filter, Format, Order, QueryOptions, Stat, Store, StoreOptions, Window, segment::SLOT_SECS};

use crate::{
    alerts,
    status::{Status, StatusSource},
};

/// Flows or lines of a statistic in one answer, at most.
const MAX_LINES: u64 = 1000;
/// For so long the size of the store is not looked at again.
const SIZE_IS_FRESH: Duration = Duration::from_secs(10);

/// How much is done at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Questions that run.
    pub(crate) running: usize,
    /// Questions that run or wait.
    pub(crate) waiting: usize,
    /// Time of a question, waiting included.
    pub(crate) time: Duration,
    /// Octets of an answer.
    pub(crate) octets: usize,
    /// Octets of memory of a question.
    pub(crate) memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running: 2, waiting: 32, time: Duration::from_secs(30), octets: 32 << 20, memory: 256 << 20 }
    }
}

/// What all requests share.
pub(crate) struct Api {
    data: PathBuf,
    status: Option<StatusSource>,
    limits: Limits,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    size: Mutex<Option<(Instant, Size)>>,
}

impl Api {
    pub(crate) fn new(data: PathBuf, status: Option<StatusSource>, limits: Limits) -> Self {
        let running = Arc::new(Semaphore::new(limits.running));
        Self { data, status, limits, running, waiting: Semaphore::new(limits.waiting), size: Mutex::new(None) }
    }
}

pub(crate) fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/alerts", get(alerts))
        .route("/api/query", get(query))
        .route("/api/status", get(status))
        .route("/api/top", get(top))
        .with_state(api)
}

/// Why there is no answer.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    message: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    /// Where in it, in characters from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), parameter: None, column: None }
    }

    fn parameter(parameter: &'static str, message: impl Into<String>) -> Self {
        Self { parameter: Some(parameter), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// A parameter that the store does not understand.
    fn unknown(parameter: &'static str, error: &Error) -> Self {
        match error {
            Error::Filter(error) => Self { column: Some(error.column), ..Self::parameter(parameter, &error.message) },
            error => Self::parameter(parameter, error.to_string()),
        }
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Output(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the answer is too large; ask for fewer lines")
            }
            error => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a Failure,
        }
        let mut response = json(&Body { error: &self });
        *response.status_mut() = self.status;
        response
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => json_text(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer with lines of JSON that the store wrote.
fn lines(key: &str, more: bool, lines: &[&str]) -> Response {
    json_text(format!("{{\"more\":{more},\"{key}\":[{}]}}", lines.join(",")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryParameters {
    #[serde(default)]
    filter: String,
    #[serde(default)]
    window: String,
    order: Option<String>,
    limit: Option<u64>,
}

/// Flows, the latest first unless another order is asked for.
async fn query(
    State(api): State<Arc<Api>>,
    parameters: Result<Query<QueryParameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(parameters) = parameters?;
    let limit = count("limit", parameters.limit.unwrap_or(100))?;
    let order = Order::parse(parameters.order.as_deref().unwrap_or("tend:d"));
    let options = QueryOptions {
        order: Some(order.map_err(|e| Failure::unknown("order", &e))?),
        // One more says whether there are more.
        top: Some(limit + 1),
        ..options(&parameters.filter, &parameters.window)?
    };
    let text = ask(&api, options).await?;
    let mut flows: Vec<_> = text.lines().collect();
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = flows.len() > shown;
    flows.truncate(shown);
    Ok(lines("flows", more, &flows))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopParameters {
    stat: String,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    window: String,
    n: Option<u64>,
}

/// One statistic.
async fn top(
    State(api): State<Arc<Api>>,
    parameters: Result<Query<TopParameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(parameters) = parameters?;
    let n = count("n", parameters.n.unwrap_or(10))?;
    let stat = Stat::parse(&parameters.stat).map_err(|e| Failure::unknown("stat", &e))?;
    let (element, order) = parameters.stat.split_once('/').unwrap_or((&parameters.stat, ""));
    if order.contains('/') {
        return Err(Failure::parameter("stat", "one order at a time"));
    }
    if element.split(':').next().is_some_and(|e| e.eq_ignore_ascii_case("record")) {
        return Err(Failure::parameter("stat", "records themselves are at /api/query"));
    }
    let options =
        QueryOptions { stats: vec![stat], top: Some(n + 1), ..options(&parameters.filter, &parameters.window)? };
    let text = ask(&api, options).await?;
    let mut rows: Vec<_> = text.lines().collect();
    let shown = usize::try_from(n).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    Ok(lines("rows", more, &rows))
}

fn count(parameter: &'static str, number: u64) -> Result<u64, Failure> {
    if (1..=MAX_LINES).contains(&number) {
        return Ok(number);
    }
    Err(Failure::parameter(parameter, format!("{number} is not between 1 and {MAX_LINES}")))
}

fn options(filter: &str, window: &str) -> Result<QueryOptions, Failure> {
    Ok(QueryOptions {
        filter: Filter::parse(filter).map_err(|e| Failure::unknown("filter", &e.into()))?,
        window: Window::parse(window, now()).map_err(|e| Failure::unknown("window", &e))?,
        format: Some(Format::Ndjson),
        quiet: true,
        ..QueryOptions::default()
    })
}

fn now() -> Timestamp {
    Timestamp::ZERO.after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Puts a question to the store.
async fn ask(api: &Api, options: QueryOptions) -> Result<String, Failure> {
    let too_late = || Failure::new(StatusCode::GATEWAY_TIMEOUT, "no answer in time; ask for a shorter window");
    let busy = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many questions at a time");
    let _place = api.waiting.try_acquire().map_err(|_| busy())?;
    let deadline = tokio::time::Instant::now() + api.limits.time;
    let turn = tokio::time::timeout_at(deadline, Arc::clone(&api.running).acquire_owned()).await;
    // The semaphore is never closed.
    let turn = turn.map_err(|_| too_late())?.map_err(|_| busy())?;
    if deadline <= tokio::time::Instant::now() {
        return Err(too_late());
    }

    let (data, limits, runtime) = (api.data.clone(), api.limits, Handle::current());
    // Dropped with this request: then nobody waits any more.
    let (waiting, gone) = oneshot::channel::<()>();
    // The future of a query cannot move between threads, as what it writes to need not.
    let answer = spawn_blocking(move || {
        let _turn = turn;
        let options_of_store = StoreOptions { memory: limits.memory, ..StoreOptions::default() };
        let store = Store::open_with(data, options_of_store)?;
        let mut out = Bounded { octets: Vec::new(), most: limits.octets };
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = gone => Err(too_late()),
                answer = tokio::time::timeout_at(deadline, store.query(&options, &mut out)) => {
                    answer.map_err(|_| too_late())?.map_err(Failure::from)
                }
            }
        })?;
        String::from_utf8(out.octets).map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
    });
    let answer = answer.await;
    drop(waiting);
    answer.map_err(panicked)?
}

fn panicked(_: tokio::task::JoinError) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the question was not answered: an error in this program")
}

/// Memory up to a bound.
struct Bounded {
    octets: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.octets.len().saturating_add(octets.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.octets.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The last state of each attack.
async fn alerts(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    let text = blocking(&api, |data| serde_json::to_string(&alerts::read(data)?).map_err(io::Error::from)).await?;
    Ok(json_text(text.map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("alerts.jsonl: {e}")))?))
}

/// Reads files of the store, in turn with the questions.
async fn blocking<T: Send + 'static>(
    api: &Api,
    read: impl FnOnce(&std::path::Path) -> T + Send + 'static,
) -> Result<T, Failure> {
    let turn = timeout(api.limits.time, Arc::clone(&api.running).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many questions at a time"));
    };
    let data = api.data.clone();
    let answer = spawn_blocking(move || {
        let _turn = turn;
        read(&data)
    });
    answer.await.map_err(panicked)
}

/// What the store holds, by its files.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Size {
    segments: usize,
    octets: u64,
    /// Beginning of the first slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_milliseconds: Option<u64>,
    /// End of the last slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_milliseconds: Option<u64>,
}

async fn size(api: &Api) -> Result<Size, Failure> {
    let known = *api.size.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, size)) = known
        && at.elapsed() < SIZE_IS_FRESH
    {
        return Ok(size);
    }
    let segments = blocking(api, |data| Store::open(data)?.segments(Window::ALL)).await??;
    let millis = |slot: u64| slot.saturating_mul(SLOT_SECS * 1000);
    let size = Size {
        segments: segments.len(),
        octets: segments.iter().map(|s| s.octets).sum(),
        first_milliseconds: segments.iter().map(|s| millis(s.slot)).min(),
        last_milliseconds: segments.iter().map(|s| millis(s.slot.saturating_add(1))).max(),
    };
    *api.size.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), size));
    Ok(size)
}

/// What the stages count, and what the store holds.
async fn status(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Body {
        version: &'static str,
        now_milliseconds: u64,
        /// Whether this process collects: otherwise there are neither stages nor exporters.
        collecting: bool,
        store: Size,
        #[serde(flatten)]
        status: Status,
    }
    let store = size(&api).await?;
    Ok(json(&Body {
        version: env!("CARGO_PKG_VERSION"),
        now_milliseconds: now().as_millis(),
        collecting: api.status.is_some(),
        store,
        status: api.status.as_ref().map(|status| status()).unwrap_or_default(),
    }))
}
