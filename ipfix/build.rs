// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the registry of information elements from the CSV files in `data/`.

use std::{collections::BTreeMap, env, error::Error, fmt::Write, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=data");
    // (enterprise, id) -> (name, type). The IANA file comes second and wins where both name an element.
    let mut elements = BTreeMap::new();
    for line in fs::read_to_string("data/ipfix-elements.csv")?.lines().skip(1) {
        let mut columns = line.splitn(5, ',');
        let mut column = || columns.next().ok_or_else(|| format!("too few columns: {line}"));
        let (name, id, enterprise, kind) = (column()?, column()?, column()?, column()?);
        elements.insert((enterprise.parse::<u32>()?, id.parse::<u16>()?), (name.to_owned(), kind.to_owned()));
    }
    for line in fs::read_to_string("data/iana-elements.csv")?.lines().skip(1) {
        let mut columns = line.splitn(4, ',');
        let mut column = || columns.next().ok_or_else(|| format!("too few columns: {line}"));
        let (id, name, kind) = (column()?, column()?, column()?);
        elements.insert((0, id.parse::<u16>()?), (name.to_owned(), kind.to_owned()));
    }
    let mut code = String::from("&[\n");
    for ((enterprise, id), (name, kind)) in &elements {
        let kind = variant(kind).ok_or_else(|| format!("element {enterprise}/{id}: unknown type {kind}"))?;
        writeln!(code, "    (Element::new({enterprise}, {id}), \"{name}\", AbstractType::{kind}),")?;
    }
    code.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("registry.rs"), code)?;
    Ok(())
}

fn variant(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "unsigned8" => "Unsigned8",
        "unsigned16" => "Unsigned16",
        "unsigned32" => "Unsigned32",
        "unsigned64" => "Unsigned64",
        "signed8" => "Signed8",
        "signed16" => "Signed16",
        "signed32" => "Signed32",
        "signed64" => "Signed64",
        "float32" => "Float32",
        "float64" => "Float64",
        "boolean" => "Boolean",
        "macAddress" => "MacAddress",
        "octetArray" => "OctetArray",
        "string" => "String",
        "dateTimeSeconds" => "DateTimeSeconds",
        "dateTimeMilliseconds" => "DateTimeMilliseconds",
        "dateTimeMicroseconds" => "DateTimeMicroseconds",
        "dateTimeNanoseconds" => "DateTimeNanoseconds",
        "ipv4Address" => "Ipv4Address",
        "ipv6Address" => "Ipv6Address",
        "basicList" => "BasicList",
        "subTemplateList" => "SubTemplateList",
        "subTemplateMultiList" => "SubTemplateMultiList",
        _ => return None,
    })
}
