//! Checks an export without a node.

use std::io::{BufRead, Read as _};

use super::checkpoint::SignedCheckpoint;
use super::line::{Event, FORMAT, Header, Line, from_base64, hash_from_base64};
use crate::event::{CHAIN_START, StoredEvent, chain};
use crate::ids::TenantId;

/// The longest line, bytes: base64 of the largest event that a partition takes (1 MiB a proposal), and
/// room. More is not read into memory.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An export that can be checked was: this is what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose log.
    pub tenant: TenantId,
    /// The root public key that signed; compare it with the pinned one.
    pub root_public: [u8; 32],
    /// Events that hold, counted from the first.
    pub good: u64,
    /// The place of the last of them in the chain.
    pub last: u64,
    /// The first that does not hold; None if the whole export does.
    pub bad: Option<BadEvent>,
}

/// The first event that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Its place in the chain.
    pub sequence: u64,
    /// The line of the export, from 1; None where the line is missing.
    pub line: Option<u64>,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The line is no event, is not UTF-8, or is longer than 4 MiB.
    #[error("line does not parse")]
    Line,
    /// Another event stands in its place: one was dropped, moved or inserted.
    #[error("event {found} stands in its place")]
    Place {
        /// The one found.
        found: u64,
    },
    /// The stored bytes are not this tenant's event of this place.
    #[error("stored bytes are not this event")]
    Content,
    /// The hash does not follow from the event and those before it.
    #[error("hash does not follow from the events up to here")]
    Hash,
    /// The signed checkpoint counts it, the export lacks it.
    #[error("missing: the signed checkpoint is at event {signed}")]
    Missing {
        /// The checkpoint's place.
        signed: u64,
    },
    /// There is an event past the signed checkpoint.
    #[error("past the signed checkpoint at event {signed}")]
    Surplus {
        /// The checkpoint's place.
        signed: u64,
    },
    /// The chain ends elsewhere than was signed: an event up to here was replaced with its hashes.
    #[error("the chain up to here is not the one that was signed")]
    Head,
    /// There is no footer: the export was cut, and nothing vouches for what is there.
    #[error("missing: the export ends without a signed checkpoint")]
    NoCheckpoint,
    /// Something follows the footer, which no checkpoint vouches for.
    #[error("there is more after the signed checkpoint")]
    AfterCheckpoint,
    /// The footer's signature is not the tenant's.
    #[error("the checkpoint is not signed by the tenant's root key")]
    Signature,
}

/// An export that cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("input")]
    Io(#[from] std::io::Error),
    /// The first line is not a header of a known format.
    #[error("the first line is not the header of an audit export")]
    Header,
    /// The root public key is not the one expected.
    #[error("the root public key is not the pinned one")]
    Root,
    /// The checkpoint behind which events were dropped is not signed by the root key.
    #[error("the checkpoint that the export starts from is not signed by the tenant's root key")]
    Start,
}

/// Checks an export, against `pinned` (the tenant's root public key, from when it was created) where
/// given. Without it the export vouches for itself only.
///
/// # Errors
/// [`VerifyError`] if there is nothing to check; tampering is in the [`Report`].
pub fn verify(mut reader: impl BufRead, pinned: Option<&[u8; 32]>) -> Result<Report, VerifyError> {
    let first = next_line(&mut reader)?.ok_or(VerifyError::Header)?;
    let mut check = Check::begin(&first, pinned)?;
    let mut number = 1;
    while let Some(line) = next_line(&mut reader)? {
        number += 1;
        match check.line(number, &line) {
            Progress::Goes => {}
            Progress::Failed => return Ok(check.report),
            Progress::Closed if next_line(&mut reader)?.is_none() => return Ok(check.report),
            Progress::Closed => return Ok(check.fail(Some(number + 1), Flaw::AfterCheckpoint)),
        }
    }
    Ok(check.fail(None, Flaw::NoCheckpoint))
}

/// The next line without its end; None at the end of input. Of a line that is too long the start is
/// given, which does not parse.
fn next_line(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

enum Progress {
    /// More lines must follow.
    Goes,
    /// The footer holds: nothing may follow.
    Closed,
    /// The report names the flaw.
    Failed,
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_str(std::str::from_utf8(line).ok()?).ok()
}

struct Check {
    report: Report,
    head: [u8; 32],
}

impl Check {
    fn begin(first: &[u8], pinned: Option<&[u8; 32]>) -> Result<Self, VerifyError> {
        let Some(Line::Header(Header { format, tenant, root_public_key, after })) = parse(first) else {
            return Err(VerifyError::Header);
        };
        let root_public = hash_from_base64(&root_public_key).ok_or(VerifyError::Header)?;
        if format != FORMAT {
            return Err(VerifyError::Header);
        }
        if pinned.is_some_and(|pinned| *pinned != root_public) {
            return Err(VerifyError::Root);
        }
        let (last, head) = match after {
            None => (0, CHAIN_START),
            Some(text) => {
                let signed = from_base64(&text)
                    .and_then(|bytes| SignedCheckpoint::decode(&bytes).ok())
                    .filter(|signed| signed.checkpoint.tenant == tenant && signed.is_signed_by(&root_public))
                    .ok_or(VerifyError::Start)?;
                (signed.checkpoint.sequence, signed.checkpoint.head)
            }
        };
        Ok(Self { report: Report { tenant, root_public, good: 0, last, bad: None }, head })
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Progress {
        let flaw = match parse(line) {
            Some(Line::Event(event)) => self.event(&event),
            Some(Line::Footer(footer)) => {
                self.close(number, &footer.checkpoint);
                return if self.report.bad.is_none() { Progress::Closed } else { Progress::Failed };
            }
            Some(Line::Header(_)) | None => Some(Flaw::Line),
        };
        match flaw {
            None => Progress::Goes,
            Some(flaw) => {
                self.report = self.fail(Some(number), flaw);
                Progress::Failed
            }
        }
    }

    fn event(&mut self, event: &Event) -> Option<Flaw> {
        let sequence = self.report.last + 1;
        if event.sequence != sequence {
            return Some(Flaw::Place { found: event.sequence });
        }
        let (Some(stored), Some(hash)) = (from_base64(&event.stored), hash_from_base64(&event.hash)) else {
            return Some(Flaw::Line);
        };
        let head = chain(&self.head, &stored);
        if head != hash {
            return Some(Flaw::Hash);
        }
        let is_it = |e: StoredEvent| e.tenant == self.report.tenant && e.sequence == sequence;
        if !StoredEvent::decode(&stored).is_ok_and(is_it) {
            return Some(Flaw::Content);
        }
        self.head = head;
        self.report.good += 1;
        self.report.last = sequence;
        None
    }

    fn close(&mut self, line: u64, checkpoint: &str) {
        let signed = from_base64(checkpoint)
            .and_then(|bytes| SignedCheckpoint::decode(&bytes).ok())
            .filter(|signed| signed.checkpoint.tenant == self.report.tenant)
            .filter(|signed| signed.is_signed_by(&self.report.root_public));
        let Some(SignedCheckpoint { checkpoint, .. }) = signed else {
            self.report = self.fail(Some(line), Flaw::Signature);
            return;
        };
        let (last, signed) = (self.report.last, checkpoint.sequence);
        if signed > last {
            self.report = self.fail(None, Flaw::Missing { signed });
        } else if signed < last {
            self.report.bad =
                Some(BadEvent { sequence: signed + 1, line: None, flaw: Flaw::Surplus { signed } });
        } else if checkpoint.head != self.head {
            self.report.bad = Some(BadEvent { sequence: last, line: None, flaw: Flaw::Head });
        }
    }

    /// The report with the event after the last good one as the bad one.
    fn fail(&self, line: Option<u64>, flaw: Flaw) -> Report {
        let bad = Some(BadEvent { sequence: self.report.last + 1, line, flaw });
        Report { bad, ..self.report.clone() }
    }
}
