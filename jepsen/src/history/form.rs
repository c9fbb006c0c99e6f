//! Operations as the values of Jepsen's histories, and back.
//!
//! `:value` is `[key value]` as in `jepsen.independent`, and a list of `[:append k v]` and `[:r k [..]]`
//! for transactions as in `elle.list-append`.

use super::edn::Edn;
use super::operation::{Call, Class, Reply, Step};

/// The value of an invocation, after its name.
pub(super) fn call(call: &Call) -> Edn {
    let pair = |key: u64, value: Edn| Edn::Vector(vec![Edn::number(key), value]);
    match call {
        Call::Read { key, .. } => pair(*key, Edn::Nil),
        Call::Write { key, value } => pair(*key, Edn::number(*value)),
        Call::Claim { name, by } => pair(*name, Edn::number(*by)),
        Call::Owner { name } => pair(*name, Edn::Nil),
        Call::Redeem { code } => pair(*code, Edn::Nil),
        Call::Refresh { family, token } => pair(*family, Edn::Vector(vec![Edn::number(*token)])),
        Call::Revoke { token } | Call::Introspect { token } => pair(*token, Edn::Nil),
        Call::Add { set, element } => pair(*set, Edn::number(*element)),
        Call::Members { set } => pair(*set, Edn::Nil),
        Call::Log { log } => pair(*log, Edn::Nil),
        Call::Txn(list) => steps(list),
    }
}

/// The value of an answer.
pub(super) fn completed(call: &Call, reply: &Reply) -> Edn {
    let answer = match reply {
        Reply::Done => return self::call(call),
        Reply::Txn(list) => return steps(list),
        Reply::Successor(next) => {
            let token = if let Call::Refresh { token, .. } = call { *token } else { 0 };
            Edn::Vector(vec![Edn::number(token), Edn::number(*next)])
        }
        Reply::Value(value) => Edn::number_or_nil(*value),
        Reply::Active(active) => Edn::Bool(*active),
        Reply::Members(values) => Edn::Vector(values.iter().copied().map(Edn::number).collect()),
        Reply::Entries(entries) => Edn::Vector(
            entries
                .iter()
                .map(|(number, mark)| Edn::Vector(vec![Edn::number(*number), Edn::number(*mark)]))
                .collect(),
        ),
    };
    let asked = self::call(call);
    let key = asked.as_vector().and_then(<[Edn]>::first).cloned().unwrap_or(Edn::Nil);
    Edn::Vector(vec![key, answer])
}

/// The steps of a transaction, as Elle has them.
pub(super) fn steps(list: &[Step]) -> Edn {
    let numbers = |values: &[u64]| Edn::Vector(values.iter().copied().map(Edn::number).collect());
    let step = |step: &Step| match step {
        Step::Append(key, value) => {
            Edn::Vector(vec![Edn::keyword("append"), Edn::number(*key), Edn::number(*value)])
        }
        Step::Read(key, values) => {
            let seen = values.as_deref().map_or(Edn::Nil, numbers);
            Edn::Vector(vec![Edn::keyword("r"), Edn::number(*key), seen])
        }
    };
    Edn::Vector(list.iter().map(step).collect())
}

/// An invocation from its name and value; `after` is the member of that name.
pub(super) fn parse_call(name: &str, value: &Edn, after: Option<u64>) -> Option<Call> {
    if name == "txn" {
        return parse_steps(value).map(Call::Txn);
    }
    let [key, value] = value.as_vector()? else { return None };
    let key = key.as_number()?;
    Some(match name {
        "read" => Call::Read { key, after },
        "write" => Call::Write { key, value: value.as_number()? },
        "claim" => Call::Claim { name: key, by: value.as_number()? },
        "owner" => Call::Owner { name: key },
        "redeem" => Call::Redeem { code: key },
        "refresh" => Call::Refresh { family: key, token: value.as_vector()?.first()?.as_number()? },
        "revoke" => Call::Revoke { token: key },
        "introspect" => Call::Introspect { token: key },
        "add" => Call::Add { set: key, element: value.as_number()? },
        "members" => Call::Members { set: key },
        "log" => Call::Log { log: key },
        _ => return None,
    })
}

/// The answer to an invocation.
pub(super) fn parse_reply(call: &Call, value: &Edn) -> Option<Reply> {
    if matches!(call, Call::Txn(_)) {
        return parse_steps(value).map(Reply::Txn);
    }
    let [_, answer] = value.as_vector()? else { return None };
    Some(match call {
        Call::Read { .. } | Call::Owner { .. } if *answer == Edn::Nil => Reply::Value(None),
        Call::Read { .. } | Call::Owner { .. } => Reply::Value(Some(answer.as_number()?)),
        Call::Write { .. }
        | Call::Claim { .. }
        | Call::Redeem { .. }
        | Call::Revoke { .. }
        | Call::Add { .. } => Reply::Done,
        Call::Refresh { .. } => Reply::Successor(answer.as_vector()?.get(1)?.as_number()?),
        Call::Introspect { .. } => Reply::Active(*answer == Edn::Bool(true)),
        Call::Members { .. } => Reply::Members(numbers(answer)?),
        Call::Log { .. } => {
            let entry = |entry: &Edn| match entry.as_vector()? {
                [number, mark] => Some((number.as_number()?, mark.as_number()?)),
                _ => None,
            };
            Reply::Entries(answer.as_vector()?.iter().map(entry).collect::<Option<_>>()?)
        }
        Call::Txn(_) => return None,
    })
}

fn parse_steps(value: &Edn) -> Option<Vec<Step>> {
    let step = |step: &Edn| {
        let [kind, key, value] = step.as_vector()? else { return None };
        let key = key.as_number()?;
        match (kind.as_keyword()?, value) {
            ("append", value) => Some(Step::Append(key, value.as_number()?)),
            ("r", Edn::Nil) => Some(Step::Read(key, None)),
            ("r", values) => Some(Step::Read(key, Some(numbers(values)?))),
            _ => None,
        }
    };
    value.as_vector()?.iter().map(step).collect()
}

fn numbers(value: &Edn) -> Option<Vec<u64>> {
    value.as_vector()?.iter().map(Edn::as_number).collect()
}

/// The class of a read by its name.
pub(super) fn parse_class(name: &str) -> Option<Class> {
    [Class::Strong, Class::AtToken, Class::Bounded, Class::Local]
        .into_iter()
        .find(|class| class.name() == name)
}
