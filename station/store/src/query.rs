// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions in nfdump's manner: lists, statistics, aggregations.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array},
        datatypes::{Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type},
        util::display::{ArrayFormatter, FormatOptions},
    },
    dataframe::DataFrame,
    error::DataFusionError,
    functions_aggregate::expr_fn::{bit_or, count, max, min, sum},
    logical_expr::{Expr, ident, lit},
};

use weir_flow::Timestamp;

use crate::{
    Error, Filter, Store, Window, names,
    output::{self, Format, Line, Object, Style},
    segment,
    stat::{Direction, Element, Fields, Order, Render, Stat},
    store::{self, Chunk},
    stored::Rows,
};

/// Statistics in one query, as in nfdump.
const MAX_STATS: usize = 8;

/// A question.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Which records.
    pub filter: Filter,
    /// Of which time.
    pub window: Window,
    /// Statistics (`-s`).
    pub stats: Vec<Stat>,
    /// Sum records that agree in these fields (`-A`, `-a`).
    pub aggregate: Option<Fields>,
    /// Order of the list (`-O`).
    pub order: Option<Order>,
    /// Look at the first records only (`-c`).
    pub count: Option<u64>,
    /// Lines to print (`-n`): by default ten of a statistic and all of a list; zero is all.
    pub top: Option<u64>,
    /// Shape of the answer (`-o`). `None`: `line`, or what fits `aggregate`.
    pub format: Option<Format>,
    /// Neither header nor summary (`-q`).
    pub quiet: bool,
    /// Numbers in full (`-N`).
    pub plain_numbers: bool,
    /// IPv6 addresses in full (`-6`).
    pub full_v6: bool,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            filter: Filter::any(),
            window: Window::ALL,
            stats: Vec::new(),
            aggregate: None,
            order: None,
            count: None,
            top: None,
            format: None,
            quiet: false,
            plain_numbers: false,
            full_v6: false,
        }
    }
}

/// Sums over records.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    flows: u64,
    packets: u64,
    octets: u64,
    reverse_packets: u64,
    reverse_octets: u64,
    span: Option<(u64, u64)>,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.packets = self.packets.saturating_add(other.packets);
        self.octets = self.octets.saturating_add(other.octets);
        self.reverse_packets = self.reverse_packets.saturating_add(other.reverse_packets);
        self.reverse_octets = self.reverse_octets.saturating_add(other.reverse_octets);
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    fn of(&self, direction: Direction) -> (u64, u64) {
        match direction {
            Direction::Both => {
                (self.packets.saturating_add(self.reverse_packets), self.octets.saturating_add(self.reverse_octets))
            }
            Direction::In => (self.packets, self.octets),
            Direction::Out => (self.reverse_packets, self.reverse_octets),
        }
    }

    fn millis(&self) -> u64 {
        self.span.map_or(0, |(from, until)| (until / 1_000_000).saturating_sub(from / 1_000_000))
    }

    /// Those in a row of an answer to [`sums`].
    fn read(batch: &RecordBatch, row: usize) -> Self {
        let number = |name: &str| {
            let column = batch.column_by_name(name);
            let unsigned = column.and_then(|c| c.as_primitive_opt::<UInt64Type>());
            let signed = column.and_then(|c| c.as_primitive_opt::<Int64Type>());
            let time = column.and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
            if column.is_none_or(|c| c.is_null(row)) {
                return None;
            }
            let positive = |v: i64| u64::try_from(v).unwrap_or(0);
            unsigned
                .map(|c: &UInt64Array| c.value(row))
                .or_else(|| signed.map(|c: &Int64Array| positive(c.value(row))))
                .or_else(|| time.map(|c| positive(c.value(row))))
        };
        Self {
            flows: number("flows").unwrap_or(0),
            packets: number("packets").unwrap_or(0),
            octets: number("octets").unwrap_or(0),
            reverse_packets: number("reverse_packets").unwrap_or(0),
            reverse_octets: number("reverse_octets").unwrap_or(0),
            span: number("flow_start").zip(number("flow_end")),
        }
    }
}

/// Sums under the names of their columns, and `flows`.
fn sums() -> Vec<Expr> {
    let mut sums = vec![
        min(ident("flow_start")).alias("flow_start"),
        max(ident("flow_end")).alias("flow_end"),
        count(lit(1i64)).alias("flows"),
    ];
    for column in ["packets", "octets", "reverse_packets", "reverse_octets"] {
        sums.push(sum(ident(column)).alias(column));
    }
    sums
}

fn output<T>(written: io::Result<T>) -> Result<T, Error> {
    written.map_err(Error::Output)
}

fn limit(plan: DataFrame, limit: Option<u64>) -> Result<DataFrame, DataFusionError> {
    match limit {
        Some(limit) => plan.limit(0, Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        None => Ok(plan),
    }
}

impl Store {
    /// Answers a question.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if options do not go together, [`Error::Query`], [`Error::Io`], [`Error::Output`].
    pub async fn query(&self, options: &QueryOptions, out: &mut dyn Write) -> Result<(), Error> {
        if options.stats.len() > MAX_STATS {
            let (found, allowed) = (options.stats.len().to_string(), format!("{MAX_STATS} statistics"));
            return Err(Error::Option { option: "-s", found, allowed });
        }
        let mut run = Run { store: self, options, out, totals: Sums::default(), started: Instant::now() };
        if !options.stats.is_empty() {
            run.totals = run.sum_all().await?;
            for stat in &options.stats {
                for order in &stat.orders {
                    match &stat.element {
                        Some(element) => run.stat(stat, element, order).await?,
                        None => {
                            let fields = options.aggregate.clone().unwrap_or_else(Fields::five_tuple);
                            run.aggregation(&fields, Some(*order), Some(options.top.unwrap_or(10)), false).await?;
                        }
                    }
                }
            }
        } else if let Some(fields) = &options.aggregate {
            run.totals = run.sum_all().await?;
            run.aggregation(fields, options.order, options.top, true).await?;
        } else {
            run.list().await?;
        }
        run.summary()
    }
}

struct Run<'a> {
    store: &'a Store,
    options: &'a QueryOptions,
    out: &'a mut dyn Write,
    totals: Sums,
    started: Instant,
}

impl Run<'_> {
    fn style(&self) -> Style {
        Style { plain: self.options.plain_numbers, full_v6: self.options.full_v6 }
    }

    fn format(&self) -> Format {
        self.options.format.clone().unwrap_or_default()
    }

    fn whole(&self) -> Chunk {
        Chunk::of(self.options.window)
    }

    fn select(&self, table: DataFrame, chunk: &Chunk) -> Result<DataFrame, DataFusionError> {
        let selected = store::select(table, self.options.window, chunk, &self.options.filter)?;
        match self.options.count {
            Some(count) => store::in_time_order(selected, usize::try_from(count).ok()),
            None => Ok(selected),
        }
    }

    async fn sum_all(&self) -> Result<Sums, Error> {
        let chunk = self.whole();
        let batches = self.store.run(&chunk, false, |t| self.select(t, &chunk)?.aggregate(vec![], sums())).await?;
        let batches = batches.all().await?;
        Ok(batches.iter().find(|b| b.num_rows() > 0).map_or_else(Sums::default, |b| Sums::read(b, 0)))
    }

    /// Records one by one, in the order of time or as asked for.
    async fn list(&mut self) -> Result<(), Error> {
        let options = self.options;
        let top = options.top.filter(|n| *n > 0);
        let mut left = match (options.count, top) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut lines = Lines::begin(self.format(), self.style(), options.quiet, self.out)?;
        let chunks = match options.order {
            // The order of time needs no more than one chunk at a time.
            None => self.store.chunks(options.window)?,
            Some(_) => {
                left = top;
                vec![Chunk::of(options.window)]
            }
        };
        for chunk in chunks {
            if left == Some(0) {
                break;
            }
            let plan = |table| {
                // Not through `self`, whose output is borrowed.
                let selected = store::select(table, options.window, &chunk, &options.filter)?;
                match options.order {
                    None => limit(store::in_time_order(selected, None)?, left),
                    Some(order) => {
                        let selected = match options.count {
                            Some(count) => store::in_time_order(selected, usize::try_from(count).ok())?,
                            None => selected,
                        };
                        let mut by = vec![order.expr(false).sort(order.ascending(), false)];
                        by.extend(store::sort_by(store::TIE_BREAKERS));
                        limit(selected.sort(by)?, left)
                    }
                }
            };
            let mut batches = self.store.run(&chunk, true, plan).await?;
            while let Some(batch) = batches.next().await? {
                let rows = Rows::new(&batch);
                for row in 0..batch.num_rows() {
                    let mut sums = Sums::read(&batch, row);
                    sums.flows = 1;
                    self.totals.add(&sums);
                    lines.write(&Line { record: rows.read(row), flows: 1 })?;
                }
                left = left.map(|n| n.saturating_sub(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX)));
            }
        }
        lines.end()
    }

    /// Records that agree in the fields, summed.
    async fn aggregation(
        &mut self,
        fields: &Fields,
        order: Option<Order>,
        top: Option<u64>,
        is_list: bool,
    ) -> Result<(), Error> {
        if fields.is_empty() {
            return Err(Error::Option { option: "-A", found: String::new(), allowed: "at least one field".to_owned() });
        }
        let chunk = self.whole();
        let keys = fields.keys();
        let plan = |table| {
            let mut sums = sums();
            if keys.iter().all(|k| k.0 != "tcp_flags") {
                sums.push(bit_or(ident("tcp_flags")).alias("tcp_flags"));
            }
            let grouped = self.select(table, &chunk)?.aggregate(keys.iter().map(|k| k.1.clone()).collect(), sums)?;
            let mut by = match order {
                Some(order) => vec![order.expr(true).sort(order.ascending(), false)],
                None => store::sort_by(&["flow_start"]),
            };
            by.extend(keys.iter().map(|k| ident(k.0).sort(true, true)));
            limit(grouped.sort(by)?, top.filter(|n| *n > 0))
        };
        let mut batches = self.store.run(&chunk, false, plan).await?;
        let format = match (&self.options.format, self.options.aggregate.is_some()) {
            (Some(format), _) => format.clone(),
            (None, true) => {
                let tags: Vec<_> = fields.0.iter().map(|f| f.tag.as_str()).fold(Vec::new(), |mut tags, tag| {
                    if !tags.contains(&tag) {
                        tags.push(tag);
                    }
                    tags
                });
                Format::parse(&format!("fmt:%ts %td {} %pkt %byt %bps %bpp %fl", tags.join(" ")))?
            }
            (None, false) => Format::default(),
        };
        let style = self.style();
        if !is_list && format.is_text() && !self.options.quiet {
            let what = if self.options.aggregate.is_some() { "aggregated flows" } else { "flows" };
            self.title(what, order.unwrap_or(Order::FLOWS), top)?;
        }
        let mut lines = Lines::begin(format, style, self.options.quiet, self.out)?;
        lines.keys = Some(keys.iter().map(|k| k.0.to_string()).collect());
        while let Some(batch) = batches.next().await? {
            let rows = Rows::new(&batch);
            for row in 0..batch.num_rows() {
                let mut record = rows.read(row);
                // Times are those of both directions together.
                let record_mut = record.record_mut();
                let (first, last) = (record_mut.forward.first, record_mut.forward.last);
                (record_mut.reverse.first, record_mut.reverse.last) = (first, last);
                lines.write(&Line { record, flows: Sums::read(&batch, row).flows })?;
            }
        }
        lines.end()
    }

    fn title(&mut self, what: &str, order: Order, top: Option<u64>) -> Result<(), Error> {
        match top.filter(|n| *n > 0) {
            Some(n) => output(writeln!(self.out, "Top {n} {what} ordered by {}:", order.name())),
            None => output(writeln!(self.out, "All {what} ordered by {}:", order.name())),
        }
    }

    /// `-s`: sums by one element.
    async fn stat(&mut self, stat: &Stat, element: &Element, order: &Order) -> Result<(), Error> {
        let chunk = self.whole();
        let top = Some(self.options.top.unwrap_or(10)).filter(|n| *n > 0);
        let plan = |table| {
            let table = self.select(table, &chunk)?;
            let mut all: Option<DataFrame> = None;
            for (side, columns) in element.sides.iter().enumerate() {
                let mut one = table.clone();
                if let (1, Some(other)) = (side, element.sides.first()) {
                    // A record with the same on both sides counts once.
                    let differs = columns.iter().zip(other).map(|(a, b)| {
                        datafusion::logical_expr::binary_expr(
                            ident(*a),
                            datafusion::logical_expr::Operator::IsDistinctFrom,
                            ident(*b),
                        )
                    });
                    if let Some(differs) = differs.reduce(Expr::or) {
                        one = one.filter(differs)?;
                    }
                }
                // Columns that may be null: a record without the field is not counted.
                let present = columns.iter().map(|c| ident(*c).is_not_null()).reduce(Expr::or);
                if let Some(present) = present {
                    one = one.filter(present)?;
                }
                let mut picked: Vec<Expr> =
                    columns.iter().enumerate().map(|(i, c)| ident(*c).alias(format!("key{i}"))).collect();
                if stat.by_protocol {
                    picked.push(ident("protocol").alias("key_protocol"));
                }
                for column in ["flow_start", "flow_end", "packets", "octets", "reverse_packets", "reverse_octets"] {
                    picked.push(ident(column));
                }
                one = one.select(picked)?;
                all = Some(match all {
                    Some(all) => all.union(one)?,
                    None => one,
                });
            }
            let mut all = match all {
                Some(all) => all,
                None => table,
            };
            if element.list {
                all = all.unnest_columns(&["key0"])?;
            }
            let width = element.sides.first().map_or(0, Vec::len);
            let mut keys: Vec<String> = (0..width).map(|i| format!("key{i}")).collect();
            if stat.by_protocol {
                keys.push("key_protocol".to_owned());
            }
            let grouped = all.aggregate(keys.iter().map(ident).collect(), sums())?;
            let mut by = vec![order.expr(true).sort(order.ascending(), false)];
            by.extend(keys.iter().map(|k| ident(k).sort(true, true)));
            limit(grouped.sort(by)?, top)
        };
        let batches = self.store.run(&chunk, false, plan).await?.all().await?;
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let protocol =
                    batch.column_by_name("key_protocol").map_or_else(|| "any".to_owned(), |c| protocol_name(c, row));
                rows.push((key_text(batch, row, element.render), protocol, Sums::read(batch, row)));
            }
        }
        match self.format() {
            Format::Text(_) => self.stat_table(element, order, top, &rows),
            Format::Csv => self.stat_csv(order, &rows),
            Format::Null => Ok(()),
            format => self.stat_json(element, order, &rows, format == Format::Json),
        }
    }

    fn stat_table(
        &mut self,
        element: &Element,
        order: &Order,
        top: Option<u64>,
        rows: &[(String, String, Sums)],
    ) -> Result<(), Error> {
        let style = self.style();
        // Wide enough for the widest, and as nfdump where all are narrow.
        let width = rows.iter().map(|r| r.0.chars().count()).chain([17, element.title.len()]).max().unwrap_or(17);
        if !self.options.quiet {
            self.title(&element.title, *order, top)?;
            output(writeln!(
                self.out,
                "Date first seen          Duration Proto {:>width$}    Flows(%)     Packets(%)       Bytes(%)         \
                 pps      bps   bpp",
                element.title
            ))?;
        }
        let (all_packets, all_octets) = self.totals.of(order.direction);
        for (key, protocol, sums) in rows {
            let (packets, octets) = sums.of(order.direction);
            let first = Timestamp::from_nanos(sums.span.map_or(0, |s| s.0));
            let counted = |n: u64, all: u64| format!("{:>8}({:>4})", output::scaled(n, style), percent(n, all));
            output(writeln!(
                self.out,
                "{} {:>9} {:<5} {:>width$} {} {} {} {:>8} {:>8} {:>5}",
                output::time_text(first),
                output::seconds(sums.millis()),
                protocol,
                key,
                counted(sums.flows, self.totals.flows),
                counted(packets, all_packets),
                counted(octets, all_octets),
                output::scaled(output::per_second(packets, 1, sums.millis()), style),
                output::scaled(output::per_second(octets, 8, sums.millis()), style),
                octets.checked_div(packets).unwrap_or(0)
            ))?;
        }
        output(if self.options.quiet { Ok(()) } else { writeln!(self.out) })
    }

    fn stat_csv(&mut self, order: &Order, rows: &[(String, String, Sums)]) -> Result<(), Error> {
        if !self.options.quiet {
            output(writeln!(self.out, "ts,te,td,pr,val,fl,flP,ipkt,ipktP,ibyt,ibytP,ipps,ibps,ibpp"))?;
        }
        let (all_packets, all_octets) = self.totals.of(order.direction);
        for (key, protocol, sums) in rows {
            let (packets, octets) = sums.of(order.direction);
            let (first, last) = sums.span.unwrap_or((0, 0));
            output(writeln!(
                self.out,
                "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                output::time_text(Timestamp::from_nanos(first)),
                output::time_text(Timestamp::from_nanos(last)),
                output::seconds(sums.millis()),
                protocol,
                csv_cell(key),
                sums.flows,
                percent(sums.flows, self.totals.flows),
                packets,
                percent(packets, all_packets),
                octets,
                percent(octets, all_octets),
                output::per_second(packets, 1, sums.millis()),
                output::per_second(octets, 8, sums.millis()),
                octets.checked_div(packets).unwrap_or(0)
            ))?;
        }
        Ok(())
    }

    fn stat_json(
        &mut self,
        element: &Element,
        order: &Order,
        rows: &[(String, String, Sums)],
        is_array: bool,
    ) -> Result<(), Error> {
        let mut separator = "";
        if is_array {
            output(writeln!(self.out, "["))?;
        }
        for (key, protocol, sums) in rows {
            let (packets, octets) = sums.of(order.direction);
            let mut json = Object::new();
            json.text("stat", &element.title);
            json.text("order", order.name());
            json.text("proto", protocol);
            json.text("val", key);
            json.raw("flows", sums.flows);
            json.raw("packets", packets);
            json.raw("bytes", octets);
            let (first, last) = sums.span.unwrap_or((0, 0));
            json.text("first", &output::time_text(Timestamp::from_nanos(first)));
            json.text("last", &output::time_text(Timestamp::from_nanos(last)));
            output(writeln!(self.out, "{}{}", std::mem::take(&mut separator), json.finish()))?;
            if is_array {
                separator = ",";
            }
        }
        output(if is_array { writeln!(self.out, "]") } else { Ok(()) })
    }

    /// The last lines of a text answer. Sums are those of both directions.
    fn summary(&mut self) -> Result<(), Error> {
        if self.options.quiet || !(self.format().is_text() || self.format() == Format::Null) {
            return Ok(());
        }
        let (packets, octets) = self.totals.of(Direction::Both);
        let (millis, style) = (self.totals.millis(), self.style());
        let mut processed = 0;
        let mut read = 0;
        for segment in self.store.segments(self.options.window)? {
            processed += segment::rows(&segment.path).unwrap_or(0);
            read += segment.octets;
        }
        output(writeln!(
            self.out,
            "Summary: total flows: {}, total bytes: {}, total packets: {}, avg bps: {}, avg pps: {}, avg bpp: {}",
            self.totals.flows,
            output::scaled(octets, style),
            output::scaled(packets, style),
            output::scaled(output::per_second(octets, 8, millis), style),
            output::scaled(output::per_second(packets, 1, millis), style),
            octets.checked_div(packets).unwrap_or(0)
        ))?;
        match self.totals.span {
            Some((from, until)) => output(writeln!(
                self.out,
                "Time window: {} - {}",
                output::time_text(Timestamp::from_nanos(from)),
                output::time_text(Timestamp::from_nanos(until))
            ))?,
            None => output(writeln!(self.out, "Time window: <unknown>"))?,
        }
        output(writeln!(
            self.out,
            "Total records processed: {processed}, passed: {}, Blocks skipped: 0, Bytes read: {read}",
            self.totals.flows
        ))?;
        let wall = self.started.elapsed();
        let (user, system) = cpu_seconds();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = processed as f64 / wall.as_secs_f64().max(1e-9);
        output(writeln!(
            self.out,
            "Sys: {system:.4}s User: {user:.4}s Wall: {:.4}s flows/second: {rate:.1}",
            wall.as_secs_f64()
        ))
    }
}

/// Processor time of this process so far, in seconds; zero where the system does not say.
fn cpu_seconds() -> (f64, f64) {
    let read = || {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program may hold anything, but ends with the last parenthesis.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        Some((ticks()? / 100.0, ticks()? / 100.0))
    };
    read().unwrap_or_default()
}

fn percent(part: u64, all: u64) -> String {
    let tenths = (u128::from(part) * 1000 + u128::from(all) / 2).checked_div(u128::from(all)).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn csv_cell(text: &str) -> String {
    let text = output::printable(text);
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn protocol_name(column: &ArrayRef, row: usize) -> String {
    let number = number_text(column, row);
    number.parse().map_or(number, names::protocol)
}

fn number_text(column: &ArrayRef, row: usize) -> String {
    ArrayFormatter::try_new(column, &FormatOptions::default())
        .map_or_else(|_| String::new(), |f| f.value(row).to_string())
}

fn key_text(batch: &RecordBatch, row: usize, render: Render) -> String {
    let column = |name: &str| batch.column_by_name(name).filter(|c: &&Arc<dyn Array>| c.is_valid(row));
    match render {
        Render::Address => {
            let v4 = column("key0").and_then(|c| c.as_primitive_opt::<UInt32Type>());
            let v6 = column("key1").and_then(|c| c.as_fixed_size_binary_opt());
            let v6 = v6.and_then(|c| <[u8; 16]>::try_from(c.value(row)).ok());
            v4.map(|c| Ipv4Addr::from(c.value(row)).to_string())
                .or_else(|| v6.map(|a| Ipv6Addr::from(a).to_string()))
                .unwrap_or_default()
        }
        Render::Protocol => column("key0").map_or_else(String::new, |c| protocol_name(c, row)),
        Render::Number | Render::Text => {
            output::printable(&column("key0").map_or_else(String::new, |c| number_text(c, row)))
        }
    }
}

/// Lines of a list on their way out.
struct Lines<'a> {
    format: Format,
    style: Style,
    out: &'a mut dyn Write,
    count: u64,
    /// The columns that sums agree in; `None` for a list of records.
    keys: Option<Vec<String>>,
}

impl<'a> Lines<'a> {
    fn begin(format: Format, style: Style, quiet: bool, out: &'a mut dyn Write) -> Result<Self, Error> {
        match &format {
            Format::Text(segments) if !quiet => output(writeln!(out, "{}", output::header(segments)))?,
            Format::Csv if !quiet => output(writeln!(out, "{}", output::CSV_HEADER))?,
            Format::Json => output(writeln!(out, "["))?,
            _ => {}
        }
        Ok(Self { format, style, out, count: 0, keys: None })
    }

    fn write(&mut self, line: &Line) -> Result<(), Error> {
        self.count += 1;
        let written = match &self.format {
            Format::Text(segments) => writeln!(self.out, "{}", output::text_line(segments, line, self.style)),
            Format::Csv => writeln!(self.out, "{}", output::csv_line(line)),
            Format::Json => {
                let separator = if self.count > 1 { "," } else { "" };
                writeln!(self.out, "{separator}{}", output::json_object(line, self.keys.as_deref()))
            }
            Format::Ndjson => writeln!(self.out, "{}", output::json_object(line, self.keys.as_deref())),
            Format::Null => Ok(()),
        };
        output(written)
    }

    fn end(self) -> Result<(), Error> {
        match self.format {
            Format::Json => output(writeln!(self.out, "]")),
            _ => Ok(()),
        }
    }
}
