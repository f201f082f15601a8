//! The book and the READMEs are consistent: every link has a target, every page is listed, README stays short.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &Path) -> String {
    let text = std::fs::read_to_string(root().join(file));
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Collects the files below `folder` with this extension, as paths from the root.
fn files(folder: &Path, ending: &str, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name();
        let file = folder.join(&name);
        if root().join(&file).is_dir() {
            files(&file, ending, found);
        } else if file.extension().is_some_and(|found| found == ending) {
            found.insert(file);
        }
    }
}

fn pages() -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::new();
    files(Path::new("docs/src"), "md", &mut pages);
    pages
}

/// The path of `target` as a link in `folder`: from the root, without dots (`a` and `../c` make `c`).
fn joined(folder: &Path, target: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{target} leaves the repository"),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

/// A page as mdBook renders it: with the files it includes.
fn expanded(page: &Path) -> String {
    let folder = page.parent().unwrap();
    let mut text = String::new();
    for line in read(page).lines() {
        let included = line
            .strip_prefix("{{#include ")
            .and_then(|rest| rest.strip_suffix("}}"));
        match included.map(|what| what.split_once(':').unwrap_or((what, ""))) {
            None => text += line,
            Some((file, "")) => text += &read(&joined(folder, file)),
            Some((file, anchor)) => {
                let whole = read(&joined(folder, file));
                let (_, rest) = whole.split_once(&format!("ANCHOR: {anchor} -->")).unwrap();
                let (part, _) = rest.split_once(&format!("ANCHOR_END: {anchor}")).unwrap();
                text += part;
            }
        }
        text.push('\n');
    }
    text
}

/// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of the links and pictures in a text.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Code may look like a link, so it is replaced.
        let words: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let targets = words.split("](").skip(1);
        found.extend(targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        let sources = line.split("src=\"").skip(1);
        found.extend(sources.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    found
}

/// The anchors of a text's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then_some(heading.trim())
    });
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', "")
    };
    headings.map(slug).collect()
}

/// A message about a link without a target; none if the link is right.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("http://") || link.starts_with("https://") {
        return None;
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let file = match target {
        "" => page.to_owned(),
        target => joined(page.parent().unwrap(), target),
    };
    if !root().join(&file).exists() {
        return Some(format!("{}: {link} is not there", page.display()));
    }
    if page.starts_with("docs/src") && !file.starts_with("docs/src") {
        let page = page.display();
        return Some(format!(
            "{page}: {link} leads out of the book, which has no such page"
        ));
    }
    let known = || anchors(&expanded(&file)).contains(anchor);
    (!anchor.is_empty() && !known()).then(|| format!("{}: no heading {link}", page.display()))
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let mut texts = pages();
    for file in [
        "README.md",
        "CONTRIBUTING.md",
        "wit/README.md",
        "fuzz/README.md",
    ] {
        texts.insert(file.into());
    }
    let mut problems = Vec::new();
    for page in &texts {
        let found = links(&expanded(page));
        problems.extend(found.iter().filter_map(|link| broken(page, link)));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_page_is_in_the_summary_once() {
    let summary = Path::new("docs/src/SUMMARY.md");
    let mut listed = links(&read(summary));
    listed.sort();
    let is = pages().into_iter().filter(|page| page != summary);
    let is = is.map(|page| page.strip_prefix("docs/src").unwrap().to_owned());
    let mut is: Vec<_> = is.map(|page| page.to_str().unwrap().to_owned()).collect();
    is.sort();
    assert_eq!(listed, is, "SUMMARY.md (left), docs/src (right)");
}

/// The fixed parts of the log lines that a page has in its columns "line".
fn quoted_lines(text: &str) -> Vec<String> {
    let mut column = None;
    let mut found = Vec::new();
    for row in prose(text) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if cells.len() == 1 {
            column = None;
        } else if column.is_none() {
            column = cells.iter().position(|cell| *cell == "line");
        } else if let Some(cell) = column.and_then(|column| cells.get(column)) {
            let codes = cell.split('`').skip(1).step_by(2);
            let parts = codes.flat_map(|code| code.split('…'));
            let parts = parts.map(|part| part.trim_matches([' ', ':', ';', ',', '.']));
            found.extend(parts.filter(|part| part.len() > 7).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_line_of_the_troubleshooting_page_is_in_the_code() {
    let mut sources = BTreeSet::new();
    for folder in ["host/src", "policies"] {
        files(Path::new(folder), "rs", &mut sources);
    }
    let code: String = sources.iter().map(|file| read(file)).collect();
    // A string over several lines of code is joined.
    let lines = code.split("\\\n").map(str::trim_start);
    let code = lines.collect::<Vec<_>>().join("");
    let quoted = quoted_lines(&read(Path::new("docs/src/troubleshooting.md")));
    assert!(quoted.len() > 40, "{quoted:?}");
    let unknown: Vec<_> = quoted.iter().filter(|line| !code.contains(*line)).collect();
    assert!(unknown.is_empty(), "no such line in the code: {unknown:#?}");
}

#[test]
fn every_recipe_that_a_document_names_is_in_the_justfile() {
    let justfile = read(Path::new("justfile"));
    for file in ["README.md", "CONTRIBUTING.md", "docs/record.py"] {
        let text = read(Path::new(file));
        for named in text.split("`just ").skip(1) {
            let recipe = named.split([' ', '`']).next().unwrap();
            let begins = |line: &str| line.split([' ', ':']).next() == Some(recipe);
            assert!(justfile.lines().any(begins), "{file}: just {recipe}");
        }
    }
}

#[test]
fn readme_is_a_first_screen() {
    let lines = read(Path::new("README.md")).lines().count();
    assert!(
        lines <= 220,
        "README.md has {lines} lines: the rest belongs into docs/"
    );
}

#[test]
fn a_broken_link_is_found() {
    let page = Path::new("docs/src/limits.md");
    for link in [
        "nowhere.md",
        "settings.md#nowhere",
        "#nowhere",
        "../../README.md",
    ] {
        assert!(broken(page, link).is_some(), "{link}");
    }
    assert_eq!(broken(page, "policies/cookbook.md#make-a-key"), None);
}
