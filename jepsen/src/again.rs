//! The command that does something again, as people can paste it: with the program and the folder that were meant, and
//! the bug on purpose that was asked for.

use std::path::Path;

use crate::bugs;

/// `domicile-jepsen` with these arguments.
pub(crate) fn command(arguments: &[impl AsRef<str>], binary: &Path, out: &Path) -> String {
    let bug = std::env::var(bugs::CHOOSES).ok().filter(|bug| !bug.is_empty());
    line(bug.as_deref(), arguments, binary, out)
}

fn line(bug: Option<&str>, arguments: &[impl AsRef<str>], binary: &Path, out: &Path) -> String {
    let mut words: Vec<String> =
        bug.map(|bug| format!("{}={}", bugs::CHOOSES, quoted(bug))).into_iter().collect();
    words.push("domicile-jepsen".to_owned());
    words.extend(arguments.iter().map(|word| quoted(word.as_ref())));
    for (name, path) in [("--binary", binary), ("--out", out)] {
        words.extend([name.to_owned(), quoted(&path.display().to_string())]);
    }
    words.join(" ")
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=,:@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_program_the_folder_and_the_bug() {
        let (binary, out) = (Path::new("target/debug/domicile"), Path::new("my runs/it's"));
        let found = line(Some("no-fsync"), &["replay", "my runs/1"], binary, out);
        assert_eq!(
            found,
            r"SEEDED_BUG=no-fsync domicile-jepsen replay 'my runs/1' --binary target/debug/domicile --out 'my runs/it'\''s'"
        );
        let found = line(None, &["smoke"], Path::new("d"), Path::new("o"));
        assert_eq!(found, "domicile-jepsen smoke --binary d --out o");
    }
}
