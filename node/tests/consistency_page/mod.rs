//! `docs/consistency.md`, as tests read it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::path::Path;

/// What may be out of reach: the columns of the table "When something is out of reach".
pub const SITUATIONS: [&str; 4] =
    ["leader just lost", "no quorum of the home", "home's regions cut off", "no quorum of the directory"];

/// What a cell of that table promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// An answer; where there is a bound, it was not over when something was lost.
    Served,
    /// An answer as soon as there is a leader, or a refusal.
    ServedByNextLeader,
    /// A refusal; where there is a bound, it is over.
    Refused,
    /// A refusal, unless the caller names a write which a replica has that is reached.
    ServedWithToken,
    /// A refusal where the tenant's home has to be asked.
    RefusedWhereHomeIsNeeded,
    /// An answer, and a refusal where the directory is the home.
    RefusedOfDirectory,
    /// A refusal of what changes something; what lists may be refused.
    ChangesRefused,
}

impl Says {
    /// Every text that may stand in a cell: whoever writes another says here how it is tested.
    pub fn of(cell: &str) -> Self {
        match cell {
            "served"
            | "served, as the directory was"
            | "served by replicas within the bound, then as a read" => Self::Served,
            "served by the next leader; 503 if there is none within 5 s" => Self::ServedByNextLeader,
            "503"
            | "served by replicas within the bound, then 503"
            | "served by replicas on this side within the bound, then 503" => Self::Refused,
            "503; with a token served by a replica that has it"
            | "503; with a token served by a replica on this side that has it" => Self::ServedWithToken,
            "503 where it needs the home" => Self::RefusedWhereHomeIsNeeded,
            "served; 503 where the directory is the home: settings, laws, placements, node states and join tokens stay" => {
                Self::RefusedOfDirectory
            }
            "503: creation, placement and membership stop, and so may listing tenants" => {
                Self::ChangesRefused
            }
            other => panic!("no test shows that `{other}`"),
        }
    }
}

/// What the page says of a class in a situation.
pub fn says(class: &str, situation: &str) -> Says {
    let rows = table("class | leader just lost");
    let column = rows[0].iter().position(|heading| heading == situation).unwrap();
    let row = rows.iter().find(|row| row[0] == class).unwrap();
    Says::of(&row[column])
}

/// The rows of the table whose heading row begins with `first`, that row first, without the rule.
pub fn table(first: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/consistency.md");
    let page = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| {
        let cells = line.trim().trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let heading = format!("| {first} |");
    let lines = page.lines().skip_while(|line| !line.starts_with(&heading));
    let mut rows: Vec<Vec<String>> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 2, "no table begins with {heading}");
    rows.remove(1);
    rows
}
