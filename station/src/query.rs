// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir query` and `weir sql`: questions to a store.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use weir_flow::RecordSink;
use weir_store::{Error, Fields, Filter, Format, Order, QueryOptions, SqlFormat, Stat, Store, Window};

use crate::{Usage, pipeline::now};

/// Where `weir demo` leaves its store, and where questions go by default.
pub const DEFAULT_DATA: &str = "weir-data";

/// Ask the store in nfdump's language
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    weir query 'proto tcp and dst port 443'          flows, one a line\n  \
    weir query -s ip/bytes -n 5                      who sent and received most\n  \
    weir query -s dns.qname -n 10 'exists dns.qname' names asked for\n  \
    weir query -A srcip,dstport -O bytes 'src net 192.0.2.0/24'\n  \
    weir query -o json 'tls.sni contains example'")]
pub struct QueryArguments {
    /// Which flows, in nfdump's language with application fields; none is all
    #[arg(value_name = "FILTER", num_args = 0..)]
    filter: Vec<String>,

    /// The store
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,

    /// Only flows that ended in this window: 2026/11/20.14:05-2026/11/20.14:10, a prefix, or last 1h; UTC
    #[arg(short = 't', long, value_name = "WINDOW", default_value = "all")]
    time: String,

    /// Top N of an element, as in srcip/bytes or dstport:p/packets/bytes; may be given several times
    #[arg(short = 's', long, value_name = "STAT[/ORDER]")]
    stat: Vec<String>,

    /// Sum up flows that agree in these fields, as in srcip,dstport or srcip4/24
    #[arg(short = 'A', long, value_name = "FIELDS")]
    aggregate: Option<String>,

    /// Sum up flows of the same addresses, ports and protocol
    #[arg(short = 'a', conflicts_with = "aggregate")]
    aggregate_five_tuple: bool,

    /// Order of the list: flows, packets, bytes, pps, bps, bpp, tstart, tend, duration
    #[arg(short = 'O', long, value_name = "ORDER")]
    order: Option<String>,

    /// Lines to print; 0 is all [default: 10 of a statistic, all of a list]
    #[arg(short = 'n', long, value_name = "N")]
    top: Option<u64>,

    /// Look at the first N flows only
    #[arg(short = 'c', long, value_name = "N")]
    count: Option<u64>,

    /// line, long, extended, biline, csv, json, ndjson or fmt:TAGS
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<String>,

    /// Neither header nor summary
    #[arg(short = 'q', long)]
    quiet: bool,

    /// Numbers in full
    #[arg(short = 'N')]
    plain_numbers: bool,

    /// IPv6 addresses in full
    #[arg(short = '6')]
    full_v6: bool,

    /// Check the filter and exit
    #[arg(short = 'Z')]
    check: bool,
}

/// Ask the store in SQL
#[derive(Debug, clap::Args)]
#[command(after_help = "The table is `flows`; `weir sql 'describe flows'` lists its columns.\nExample:\n  \
    weir sql \"select src_ip, sum(octets) as octets from flows group by 1 order by 2 desc limit 5\"")]
pub struct SqlArguments {
    /// The question
    #[arg(value_name = "SQL")]
    sql: String,

    /// The store
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,

    /// table, csv or json
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    output: String,
}

/// Answers `weir query`.
pub fn run(arguments: QueryArguments) -> anyhow::Result<ExitCode> {
    let options = options(&arguments).map_err(usage)?;
    if arguments.check {
        return Ok(ExitCode::SUCCESS);
    }
    let store = Store::open(&arguments.data)?;
    let mut out = BufWriter::new(io::stdout().lock());
    block_on(store.query(&options, &mut out))??;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Answers `weir sql`.
pub fn run_sql(arguments: SqlArguments) -> anyhow::Result<ExitCode> {
    let format = SqlFormat::parse(&arguments.output).map_err(usage)?;
    let store = Store::open(&arguments.data)?;
    let mut out = BufWriter::new(io::stdout().lock());
    block_on(store.sql(&arguments.sql, format, &mut out))??;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Gives every stored record of a window to a sink, in the order of time.
pub fn each_record(data: &Path, window: &str, sink: &mut dyn RecordSink) -> anyhow::Result<u64> {
    let window = Window::parse(window, now()).map_err(usage)?;
    let store = Store::open(data)?;
    Ok(block_on(store.for_each_record(window, &Filter::any(), sink))??)
}

/// Runs a question to its end, on all cores.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future))
}

fn options(arguments: &QueryArguments) -> Result<QueryOptions, Error> {
    let five_tuple = arguments.aggregate_five_tuple.then(Fields::five_tuple);
    Ok(QueryOptions {
        filter: Filter::parse(&arguments.filter.join(" "))?,
        window: Window::parse(&arguments.time, now())?,
        stats: arguments.stat.iter().map(|text| Stat::parse(text)).collect::<Result<_, _>>()?,
        aggregate: arguments.aggregate.as_deref().map(Fields::parse).transpose()?.or(five_tuple),
        order: arguments.order.as_deref().map(Order::parse).transpose()?,
        count: arguments.count,
        top: arguments.top,
        format: arguments.output.as_deref().map(Format::parse).transpose()?,
        quiet: arguments.quiet,
        plain_numbers: arguments.plain_numbers,
        full_v6: arguments.full_v6,
    })
}

/// What cannot be understood is wrong usage.
fn usage(error: Error) -> anyhow::Error {
    Usage(error.to_string()).into()
}
