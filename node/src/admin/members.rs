//! The members of a JSON object from outside, taken one by one so that every fault has a name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// What is left of the object.
#[derive(Debug)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Takes over an object.
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// The member `name`, if it is there and not `null`.
    ///
    /// # Errors
    /// 422 if it is not `expected` (such as "a string").
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        self.take_nullable(name, expected).map(Option::flatten)
    }

    /// The member `name`; `Some(None)` for `null`.
    ///
    /// # Errors
    /// 422 if it is neither `expected` nor `null`.
    #[allow(
        clippy::option_option,
        reason = "absence, null and a value are three things, as in the domain's patches"
    )]
    pub(super) fn take_nullable<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<Option<T>>, Problem> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        // The cause would repeat the value, which may be a secret.
        serde_json::from_value(value).map(Some).map_err(|_| invalid(name, &format!("is not {expected}")))
    }

    /// The member `name`, which must be there.
    ///
    /// # Errors
    /// 422.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<T, Problem> {
        self.take(name, expected)?.ok_or_else(|| invalid(name, "is missing"))
    }

    /// The member `name`, which may be absent but not `null`.
    ///
    /// # Errors
    /// 422.
    pub(super) fn not_null<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        match self.take_nullable(name, expected)? {
            Some(None) => Err(invalid(name, "cannot be removed")),
            Some(Some(value)) => Ok(Some(value)),
            None => Ok(None),
        }
    }

    /// Refuses members that the caller may read but not set here.
    ///
    /// # Errors
    /// 422 with the first one's name.
    pub(super) fn refuse(&self, names: &[&str], why: &str) -> Result<(), Problem> {
        names.iter().find(|name| self.0.contains_key(**name)).map_or(Ok(()), |name| Err(invalid(name, why)))
    }

    /// Takes all members whose name is `wanted`.
    pub(super) fn take_all(&mut self, wanted: impl Fn(&str) -> bool) -> Map<String, Value> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| wanted(name));
        self.0 = left;
        taken
    }

    /// All that is left.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.0
    }

    /// Refuses what is left: `known` are all names that were possible.
    ///
    /// # Errors
    /// 422 naming each with the nearest known name.
    pub(super) fn finish<'a>(self, known: impl IntoIterator<Item = &'a str>) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let known: Vec<&str> = known.into_iter().collect();
        let unknown: Vec<(String, Option<&str>)> =
            self.0.into_iter().map(|(name, _)| (name.clone(), nearest(&name, &known))).collect();
        let texts: Vec<String> = unknown
            .iter()
            .map(|(name, nearest)| match nearest {
                Some(nearest) => format!("`{name}` is not known; did you mean `{nearest}`?"),
                None => format!("`{name}` is not known"),
            })
            .collect();
        let members: Vec<Value> = unknown
            .into_iter()
            .map(|(name, nearest)| serde_json::json!({ "name": name, "nearest": nearest }))
            .collect();
        Err(Problem::unprocessable(texts.join(" ")).with("unknown_members", members))
    }
}

/// 422 for one member.
pub(super) fn invalid(name: &str, rule: &str) -> Problem {
    Problem::unprocessable(format!("`{name}` {rule}")).with("member", name)
}

/// The known name that a typing error of a third of the letters makes of it.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|&candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: &Value) -> Members {
        Members::new(value.as_object().unwrap().clone())
    }

    fn detail(problem: &Problem) -> String {
        serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn unknown_members_are_named_with_the_nearest_known_name() {
        let left = members(&serde_json::json!({ "emial": "a@b", "colour": 1 }));
        let problem = left.finish(["email", "username"]).unwrap_err();
        assert_eq!(problem.status().as_u16(), 422);
        assert_eq!(detail(&problem), "`colour` is not known `emial` is not known; did you mean `email`?");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_but_not_repeated() {
        let mut left = members(&serde_json::json!({ "password": ["hunter2"] }));
        let problem = left.take::<String>("password", "a string").unwrap_err();
        assert_eq!(detail(&problem), "`password` is not a string");
    }

    #[test]
    fn null_is_absent_or_a_removal_or_refused_as_the_caller_wants() {
        let object = || members(&serde_json::json!({ "email": null }));
        assert_eq!(object().take::<String>("email", "a string").unwrap(), None);
        assert_eq!(object().take_nullable::<String>("email", "a string").unwrap(), Some(None));
        assert_eq!(object().not_null::<String>("email", "a string").unwrap_err().status().as_u16(), 422);
        assert_eq!(object().required::<String>("email", "a string").unwrap_err().status().as_u16(), 422);
    }
}
