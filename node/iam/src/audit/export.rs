//! Writes a tenant's audit log.

use std::io::Write;
use std::ops::Bound;
use std::sync::Arc;

use domicile_raft::Timestamp;
use domicile_storage::codec::CodecError;
use domicile_storage::{Engine, EngineError, KeyRange, Order};

use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::line::{Event, FORMAT, Footer, Header, Line, to_base64};
use crate::event::{CHAIN_START, chain};
use crate::ids::TenantId;
use crate::seal::RootKey;
use crate::tables::{self, Table, TableFault};

/// Events read at a time.
const PAGE: usize = 256;

/// An export cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tenant does not live here.
    #[error("no such tenant here")]
    NoTenant,
    /// The state cannot be read.
    #[error("state")]
    Table(#[from] TableFault),
    /// The state cannot be read.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// A value cannot be encoded or decoded.
    #[error("value")]
    Codec(#[from] CodecError),
    /// A line cannot be written.
    #[error("line")]
    Json(#[from] serde_json::Error),
    /// The output refuses.
    #[error("output")]
    Io(#[from] std::io::Error),
}

/// An export in progress: the events that were committed when it began, a page at a time. Events that
/// commit meanwhile are left to the next one.
pub struct Export {
    engine: Arc<dyn Engine>,
    tenant: TenantId,
    header: Option<String>,
    footer: Option<String>,
    sequence: u64,
    head: [u8; 32],
    end: u64,
}

impl Export {
    /// Begins one; its footer is signed with `root` as of `at`, log time.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn begin(
        engine: Arc<dyn Engine>,
        tenant: TenantId,
        root: &RootKey,
        at: Timestamp,
    ) -> Result<Self, ExportError> {
        let row = tables::tenant_row(&*engine, tenant)?.ok_or(ExportError::NoTenant)?;
        let after = engine.get(&tables::tenant_table_prefix(Table::Checkpoints, tenant))?;
        let start =
            after.as_deref().map(SignedCheckpoint::decode).transpose()?.map(|signed| signed.checkpoint);
        let (sequence, head) = start.map_or((0, CHAIN_START), |start| (start.sequence, start.head));
        let header = Line::Header(Header {
            format: FORMAT.to_owned(),
            tenant,
            root_public_key: to_base64(&row.keys.root_public),
            after: after.as_deref().map(to_base64),
        });
        // Signed as it was committed, not as it reads now: damage shows as a mismatch.
        let checkpoint = Checkpoint { tenant, sequence: row.sequence, head: row.head, at };
        let signed = SignedCheckpoint::sign(checkpoint, root)?;
        let footer = Line::Footer(Footer { checkpoint: to_base64(&signed.encode()?) });
        Ok(Self {
            engine,
            tenant,
            header: Some(serde_json::to_string(&header)?),
            footer: Some(serde_json::to_string(&footer)?),
            sequence,
            head,
            end: row.sequence,
        })
    }

    /// The next lines, without line ends: at most `events_max` events (at least 1) and what frames
    /// them. Empty at the end.
    ///
    /// # Errors
    /// [`ExportError`]; what was given until then has no footer and does not verify.
    pub fn next_lines(&mut self, events_max: usize) -> Result<Vec<String>, ExportError> {
        let mut lines: Vec<String> = self.header.take().into_iter().collect();
        if self.sequence < self.end {
            let range = KeyRange {
                start: Bound::Included(tables::event_key(self.tenant, self.sequence + 1)),
                end: Bound::Included(tables::event_key(self.tenant, self.end)),
            };
            let page = self.engine.scan(&range, Order::Ascending, events_max.max(1))?;
            if page.is_empty() {
                return Err(CodecError::Malformed(format!("event {} is missing", self.sequence + 1)).into());
            }
            for (_, stored) in page {
                self.sequence += 1;
                self.head = chain(&self.head, &stored);
                let (stored, hash) = (to_base64(&stored), to_base64(&self.head));
                let event = Line::Event(Event { sequence: self.sequence, stored, hash });
                lines.push(serde_json::to_string(&event)?);
            }
        }
        if self.sequence >= self.end {
            lines.extend(self.footer.take());
        }
        Ok(lines)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn write_to(&mut self, out: &mut dyn Write) -> Result<(), ExportError> {
        loop {
            let lines = self.next_lines(PAGE)?;
            if lines.is_empty() {
                return Ok(out.flush()?);
            }
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
    }
}
