// SPDX-License-Identifier: MIT OR Apache-2.0
//! What there is to say about exporting, beside where to.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use weir_export::{ExporterConfig, Policy, Refresh, Rotation, SpoolConfig, TlsOptions};

use crate::units::{parse_duration, parse_size, show_duration, show_size};

/// As they stand on the command line, or in the file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Export")]
pub struct ExportOptions {
    /// Which of several destinations gets a record: all, round-robin (a message each), failover (the first that takes them)
    /// or hash (by flow) [default: all]
    #[arg(long, value_name = "POLICY")]
    pub export_policy: Option<String>,

    /// Memory for what a TCP or TLS destination has not acknowledged yet, for each [default: a sixteenth of --memory, at most
    /// 16MiB]
    #[arg(long, value_name = "SIZE")]
    pub spool_memory: Option<String>,

    /// Folder for what has no room there; what is left in it at the end are IPFIX files
    #[arg(long, value_name = "DIR")]
    pub spool_dir: Option<PathBuf>,

    /// Most octets of files in it, for each destination [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub spool_size: Option<String>,

    /// Of what was acknowledged, how much is sent again after a connection was reset, as nobody knows what the collector had
    /// read; under the same sequence numbers [default: what the spool's memory has room for]
    #[arg(long, value_name = "SIZE")]
    pub resend: Option<String>,

    /// Finish files at the end of each such interval; names may have %Y %m %d %H %M %S %s (UTC) [default: never]
    #[arg(long, value_name = "DURATION")]
    pub rotate_interval: Option<String>,

    /// Finish files before they are larger [default: never]
    #[arg(long, value_name = "SIZE")]
    pub rotate_size: Option<String>,

    /// Announce templates over UDP again after this time [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub template_interval: Option<String>,

    /// Announce templates over UDP again after so many messages [default: 4096]
    #[arg(long, value_name = "N")]
    pub template_messages: Option<u32>,

    /// Certificate authorities (PEM) that collectors' certificates must lead to [default: those of this system]; of one
    /// destination: tls://HOST?ca=FILE
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Certificate (PEM) to show to collectors; of one destination: tls://HOST?cert=FILE&key=FILE
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// Memory of a spool: a part of all, one in so many, and its bounds; and the least that can be asked for.
const SPOOL_SHARE: usize = 16;
const MIN_SPOOL: usize = 1 << 20;
const MAX_SPOOL: usize = 16 << 20;
const LEAST_SPOOL: usize = 256 << 10;

impl ExportOptions {
    /// What is said here, and where nothing is, in `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            export_policy: self.export_policy.or(other.export_policy),
            spool_memory: self.spool_memory.or(other.spool_memory),
            spool_dir: self.spool_dir.or(other.spool_dir),
            spool_size: self.spool_size.or(other.spool_size),
            resend: self.resend.or(other.resend),
            rotate_interval: self.rotate_interval.or(other.rotate_interval),
            rotate_size: self.rotate_size.or(other.rotate_size),
            template_interval: self.template_interval.or(other.template_interval),
            template_messages: self.template_messages.or(other.template_messages),
            tls_ca: self.tls_ca.or(other.tls_ca),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
        }
    }

    /// Checks them, and completes settings of which `memory` octets are for everything.
    ///
    /// # Errors
    ///
    /// If one of them makes no sense; the message names it.
    pub fn complete(self, memory: usize, config: ExporterConfig) -> anyhow::Result<ExporterConfig> {
        let usual = SpoolConfig::default();
        let spool = SpoolConfig {
            memory: size("spool-memory", self.spool_memory)?
                .unwrap_or_else(|| (memory / SPOOL_SHARE).clamp(MIN_SPOOL, MAX_SPOOL)),
            resend: size("resend", self.resend)?.unwrap_or(usual.resend),
            disk: size("spool-size", self.spool_size)?.map_or(usual.disk, |octets| octets as u64),
            folder: self.spool_dir,
        };
        if spool.memory < LEAST_SPOOL {
            bail!("spool-memory: {} is less than {}", show_size(spool.memory), show_size(LEAST_SPOOL));
        }
        let rotation = Rotation {
            interval: duration("rotate-interval", self.rotate_interval)?,
            octets: size("rotate-size", self.rotate_size)?.map(|octets| octets as u64),
        };
        let refresh = Refresh {
            interval: duration("template-interval", self.template_interval)?.unwrap_or(Refresh::default().interval),
            messages: self.template_messages.unwrap_or(Refresh::default().messages),
        };
        if refresh.messages == 0 {
            bail!("template-messages: must be more than 0");
        }
        let policy = self.export_policy.map_or(Ok(Policy::All), |text| text.parse()).context("export-policy")?;
        let tls = TlsOptions { authorities: self.tls_ca, certificate: self.tls_cert, key: self.tls_key, name: None };
        if tls.certificate.is_some() != tls.key.is_some() {
            bail!("tls-cert and tls-key: neither is of use without the other");
        }
        let destinations = config.destinations.into_iter().map(|destination| destination.with_tls(&tls)).collect();
        Ok(ExporterConfig { destinations, policy, spool, rotation, refresh, ..config })
    }
}

/// Tells each as it stands in a configuration file. What TLS needs stands with its destination.
pub fn dump(config: &ExporterConfig, line: &mut dyn FnMut(&str, String)) {
    let text = |text: String| toml::Value::from(text).to_string();
    line("export-policy", text(config.policy.to_string()));
    line("spool-memory", text(show_size(config.spool.memory)));
    if let Some(folder) = &config.spool.folder {
        line("spool-dir", text(folder.display().to_string()));
    }
    line("spool-size", text(show_size(usize::try_from(config.spool.disk).unwrap_or(usize::MAX))));
    if config.spool.resend != SpoolConfig::default().resend {
        line("resend", text(show_size(config.spool.resend)));
    }
    if let Some(interval) = config.rotation.interval {
        line("rotate-interval", text(show_duration(interval)));
    }
    if let Some(octets) = config.rotation.octets {
        line("rotate-size", text(show_size(usize::try_from(octets).unwrap_or(usize::MAX))));
    }
    line("template-interval", text(show_duration(config.refresh.interval)));
    line("template-messages", config.refresh.messages.to_string());
}

fn size(name: &str, text: Option<String>) -> anyhow::Result<Option<usize>> {
    text.map(|text| parse_size(&text).map_err(anyhow::Error::msg).with_context(|| name.to_owned())).transpose()
}

fn duration(name: &str, text: Option<String>) -> anyhow::Result<Option<Duration>> {
    let Some(text) = text else { return Ok(None) };
    match parse_duration(&text).map_err(anyhow::Error::msg).with_context(|| name.to_owned())? {
        Duration::ZERO => bail!("{name}: must be longer than 0s"),
        duration => Ok(Some(duration)),
    }
}
