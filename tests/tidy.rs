//! The house rules that no lint knows: how long, how named, who may know whom.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What a stage may know of: its own left, and the words that all share.
const STAGES: [(&str, &[&str]); 18] = [
    ("id", &[]),
    ("time", &[]),
    ("limits", &[]),
    ("trunks", &["id"]),
    ("wire", &["id", "limits", "time"]),
    ("source", &["limits", "time", "wire"]),
    ("sound", &["wire"]),
    ("shard", &["id", "limits", "quality", "sound", "time", "trunks", "wire"]),
    ("ring", &["id", "limits", "shard", "time", "wire"]),
    ("quality", &["limits", "wire"]),
    ("control", &["id", "limits", "quality", "ring", "shard", "time", "trunks", "wire"]),
    ("json", &[]),
    ("store", &["control", "id", "json", "quality", "time"]),
    ("alerts", &["control", "id", "quality", "store", "time", "trunks"]),
    ("notify", &["alerts", "json", "time"]),
    ("config", &["alerts", "limits", "notify", "quality", "shard", "sound", "store", "trunks"]),
    ("http", &["alerts", "control", "id", "json", "limits", "notify", "quality", "store", "time"]),
    ("analyze", &["control", "id", "json", "limits", "quality", "shard", "source", "time", "wire"]),
];

/// All that stands at the top, beside files whose names begin with a dot.
const TOP: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "deploy",
    "loadgen",
    "src",
    "tests",
];

/// Made by building, testing and running.
const MADE: [&str; 2] = ["target", "voxplane-data"];

/// Files that may read a clock: the data plane's, the door's, and the runtime.
const CLOCKS: [&str; 3] = ["src/source/clock.rs", "src/http/clock.rs", "src/runtime"];

#[test]
fn a_file_opens_with_what_it_is_and_stays_readable() {
    for file in sources(&["src", "loadgen/src", "benches", "tests", "loadgen/tests"]) {
        let name = file.name();
        assert!(file.text.starts_with("//! "), "{name} does not open with its sentence");
    }
    // A test may hold a message as it came, and as many ladders as it takes.
    for file in sources(&["src", "loadgen/src", "benches"]) {
        let name = file.name();
        let lines = file.production().lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines beside its tests");
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{name}:{} has {columns} columns", number + 1);
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    for file in sources(&["src", "loadgen/src", "benches"]) {
        for word in ["TODO", "FIXME", "XXX", "dbg!", "todo!", "unimplemented!"] {
            assert!(!file.text.contains(word), "{} has {word}", file.name());
        }
    }
}

#[test]
fn only_the_source_is_unsafe() {
    for file in sources(&["src", "loadgen/src"]) {
        let is_source = file.path.starts_with("src/source");
        assert!(is_source || !file.has_word("unsafe"), "{} is unsafe", file.name());
    }
}

#[test]
fn only_clocks_read_clocks() {
    for file in sources(&["src", "loadgen/src"]) {
        if CLOCKS.iter().any(|clock| file.path.starts_with(clock)) {
            continue;
        }
        for clock in ["Instant::now", "SystemTime::now", "elapsed()"] {
            assert!(!file.code().contains(clock), "{} reads a clock: {clock}", file.name());
        }
    }
}

#[test]
fn a_stage_knows_those_before_it_and_none_after() {
    let files = sources(&["src"]);
    for (stage, known) in STAGES {
        let own = |file: &&Source| {
            let parts: Vec<_> = file.path.iter().collect();
            parts[1].to_string_lossy().trim_end_matches(".rs") == stage
        };
        let mut is_there = false;
        for file in files.iter().filter(own) {
            is_there = true;
            for used in used_modules(&file.code()) {
                let is_known = used == stage || known.contains(&used.as_str());
                assert!(is_known, "{} uses {used}, which {stage} must not know", file.name());
            }
        }
        assert!(is_there, "there is no {stage}");
    }
    // Whoever is new has a line above, or brings the stages together.
    let modules: BTreeSet<_> =
        files.iter().map(|file| file.path.iter().nth(1).unwrap().to_string_lossy()).collect();
    for module in modules {
        let name = module.trim_end_matches(".rs");
        let is_known = STAGES.iter().any(|(stage, _)| *stage == name);
        assert!(is_known || ["lib", "main", "runtime"].contains(&name), "{name} has no rule");
    }
}

#[test]
fn the_ways_to_name_a_module_are_seen() {
    let code = "use crate::{\n    limits::{A, B},\n    wire::{sip::{C}, rtp},\n    ring,\n};\n\
                use crate::source::udp;\nfn f() -> crate::http::Server {}\n";
    let used: Vec<_> = used_modules(code).into_iter().collect();
    assert_eq!(used, ["http", "limits", "ring", "source", "wire"]);
}

#[test]
fn the_top_holds_what_it_should() {
    for entry in fs::read_dir(".").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_known = name.starts_with('.') || TOP.contains(&&*name) || MADE.contains(&&*name);
        assert!(is_known, "{name} stands at the top");
    }
}

/// A file of Rust, its path seen from the top.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Without its tests, which come last.
    fn production(&self) -> &str {
        let tests = ["\n#[cfg(test)]\nmod tests", "\n#[cfg(test)]\n#["];
        let end = tests.iter().filter_map(|start| self.text.find(start)).min();
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// Without tests and without lines that are comments.
    fn code(&self) -> String {
        let lines = self.production().lines();
        let code = lines.filter(|line| !line.trim_start().starts_with("//"));
        code.flat_map(|line| [line, "\n"]).collect()
    }

    fn has_word(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code().split(|c| !is_part(c)).any(|found| found == word)
    }
}

/// All Rust files below some directories; one that is not there has none.
fn sources(directories: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for directory in directories {
        collect(Path::new(directory), &mut found);
    }
    assert!(found.len() > 10, "only {} files in {directories:?}", found.len());
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { path, text });
        }
    }
}

/// The modules of the crate that code names, by `use` or by path.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => first_names(group, &mut used),
            None => drop(used.insert(name(rest))),
        }
    }
    used
}

/// The names at the first level of a group in braces.
fn first_names(group: &str, used: &mut BTreeSet<String>) {
    let mut depth = 0;
    let mut starts = true;
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => return,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            _ if depth == 0 && starts && !c.is_whitespace() => {
                used.insert(name(&group[at..]));
                starts = false;
            }
            _ => {}
        }
    }
}

fn name(text: &str) -> String {
    text.chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect()
}

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 900;
