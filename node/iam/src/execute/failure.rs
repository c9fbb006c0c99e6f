//! Failures in the terms of a command.

use super::context::ExecuteError;

pub(super) fn unavailable<R>(reason: &'static str) -> ExecuteError<R> {
    ExecuteError::Unavailable { retry_after_s: 1, reason }
}

pub(super) fn fault<E: std::error::Error, R>(error: E) -> ExecuteError<R> {
    ExecuteError::Fault(chain_text(&error))
}

pub(super) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
