// SPDX-License-Identifier: MIT OR Apache-2.0
//! SQL over the flows, for reading only.
//!
//! The table is `flows`: the columns of the files, and in front of them what people ask for: `src_ip`, `dst_ip`, `proto`
//! and `duration_ms`. An address as text is made while reading and cannot use an index; `src4 = ip4('192.0.2.1')` and
//! `src4 between ip4('10.0.0.0') and ip4('10.255.255.255')` can.

use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array},
        csv,
        datatypes::{DataType, UInt8Type, UInt32Type},
        json,
        util::pretty::pretty_format_batches,
    },
    common::{Result as EngineResult, exec_err},
    execution::context::SQLOptions,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, ident,
    },
};

use crate::{Error, Store, Window, filter, names, schema, store::Chunk};

/// Shape of an answer to SQL.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SqlFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// A table for people.
    #[default]
    Table,
}

impl SqlFormat {
    /// Reads `table`, `csv` or `json`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "csv" => Ok(Self::Csv),
            "json" | "ndjson" => Ok(Self::Json),
            "table" => Ok(Self::Table),
            _ => Err(Error::Option { option: "-o", found: text.to_owned(), allowed: "table, csv, json".to_owned() }),
        }
    }
}

impl Store {
    /// Answers one SQL query over the table `flows`. Statements that change or create anything are refused.
    ///
    /// # Errors
    ///
    /// [`Error::Query`] with the engine's words, [`Error::Output`].
    pub async fn sql(&self, text: &str, format: SqlFormat, out: &mut dyn Write) -> Result<(), Error> {
        let batches = self.sql_batches(text, Window::ALL).await?;
        match format {
            SqlFormat::Csv => {
                let mut writer = csv::Writer::new(out);
                for batch in &batches {
                    writer.write(&flat(batch)?).map_err(Error::arrow)?;
                }
            }
            SqlFormat::Json => {
                let mut writer = json::LineDelimitedWriter::new(out);
                for batch in &batches {
                    writer.write(batch).map_err(Error::arrow)?;
                }
                writer.finish().map_err(Error::arrow)?;
            }
            SqlFormat::Table => {
                let table = pretty_format_batches(&batches).map_err(Error::arrow)?.to_string();
                // What came from the network does not control the terminal.
                let table: String =
                    table.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
                writeln!(out, "{table}").map_err(Error::Output)?;
            }
        }
        Ok(())
    }

    /// The answer to an SQL query as record batches, for whoever shows it in another way. Only files of the window are
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::Query`] with the engine's words.
    pub async fn sql_batches(&self, text: &str, window: Window) -> Result<Vec<RecordBatch>, Error> {
        let context = self.session(false)?;
        for function in [Function::Ip4, Function::IpText, Function::ProtoName] {
            context.register_udf(ScalarUDF::new_from_impl(Call::new(function)));
        }
        let table = context.read_table(self.flows(&context, &Chunk::of(window))?)?;
        let ip = |v4: &str, v6: &str, name: &str| {
            ScalarUDF::new_from_impl(Call::new(Function::IpText)).call(vec![ident(v4), ident(v6)]).alias(name)
        };
        let mut columns = vec![
            ip("src4", "src6", "src_ip"),
            ip("dst4", "dst6", "dst_ip"),
            ScalarUDF::new_from_impl(Call::new(Function::ProtoName)).call(vec![ident("protocol")]).alias("proto"),
            filter::duration().alias("duration_ms"),
        ];
        columns.extend(schema::schema().fields().iter().map(|f| ident(f.name())));
        context.register_table("flows", table.select(columns)?.into_view())?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        Ok(context.sql_with_options(text, options).await?.collect().await?)
    }
}

/// A batch with text in place of lists, which have no form in CSV.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column: ArrayRef = if field.data_type().is_nested() {
            let options = Default::default();
            let formatter = datafusion::arrow::util::display::ArrayFormatter::try_new(column, &options);
            let formatter = formatter.map_err(Error::arrow)?;
            Arc::new(
                (0..column.len())
                    .map(|i| column.is_valid(i).then(|| formatter.value(i).to_string()))
                    .collect::<StringArray>(),
            )
        } else {
            column.clone()
        };
        columns.push((field.name().clone(), column));
    }
    RecordBatch::try_from_iter(columns).map_err(Error::arrow)
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Function {
    /// `ip4(text)`: the number of an IPv4 address.
    Ip4,
    /// `ip_text(v4, v6)`: the address as text.
    IpText,
    /// `proto_name(number)`.
    ProtoName,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Call {
    function: Function,
    signature: Signature,
}

impl Call {
    fn new(function: Function) -> Self {
        let takes = match function {
            Function::Ip4 => TypeSignature::Exact(vec![DataType::Utf8]),
            Function::IpText => TypeSignature::Exact(vec![DataType::UInt32, DataType::FixedSizeBinary(16)]),
            Function::ProtoName => TypeSignature::Exact(vec![DataType::UInt8]),
        };
        Self { function, signature: Signature::new(takes, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        match self.function {
            Function::Ip4 => "ip4",
            Function::IpText => "ip_text",
            Function::ProtoName => "proto_name",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(if self.function == Function::Ip4 { DataType::UInt32 } else { DataType::Utf8 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let answer: Option<ArrayRef> = match (self.function, &arrays[..]) {
            (Function::Ip4, [texts]) => texts.as_string_opt::<i32>().map(|texts| {
                let number = |text: &str| text.parse::<Ipv4Addr>().ok().map(u32::from);
                Arc::new(texts.iter().map(|t| t.and_then(number)).collect::<UInt32Array>()) as ArrayRef
            }),
            (Function::IpText, [v4, v6]) => {
                v4.as_primitive_opt::<UInt32Type>().zip(v6.as_fixed_size_binary_opt()).map(|(v4, v6)| {
                    let texts = v4.iter().zip(v6.iter()).map(|(v4, v6)| {
                        let v6 = v6.and_then(|a| <[u8; 16]>::try_from(a).ok());
                        v4.map(|a| Ipv4Addr::from(a).to_string()).or_else(|| v6.map(|a| Ipv6Addr::from(a).to_string()))
                    });
                    Arc::new(texts.collect::<StringArray>()) as ArrayRef
                })
            }
            (Function::ProtoName, [numbers]) => numbers.as_primitive_opt::<UInt8Type>().map(|numbers| {
                Arc::new(numbers.iter().map(|n| n.map(names::protocol)).collect::<StringArray>()) as ArrayRef
            }),
            _ => None,
        };
        match answer {
            Some(answer) => Ok(ColumnarValue::Array(answer)),
            None => exec_err!("{} does not take these", self.name()),
        }
    }
}
