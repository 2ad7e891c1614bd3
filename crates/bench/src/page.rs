//! A part of a page that a program writes, between two markers; what people wrote around it stays.

use std::path::Path;

use anyhow::{Context as _, bail};

/// Writes `text` between the markers of `name` on a page, or at its end if there are none yet.
pub(crate) fn write(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = match std::fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    let new = with(&old, name, text).with_context(|| path.display().to_string())?;
    std::fs::write(path, new).with_context(|| path.display().to_string())
}

fn with(old: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- {name}: written by a program from here -->\n");
    let end = format!("<!-- {name}: until here -->\n");
    let part = format!("{begin}\n{}\n\n{end}", text.trim());
    match (old.find(&begin), old.find(&end)) {
        (Some(from), Some(until)) if from < until => {
            let rest = &old[until + end.len()..];
            Ok(format!("{}{part}{rest}", &old[..from]))
        }
        (None, None) if old.is_empty() => Ok(part),
        (None, None) => Ok(format!("{}\n\n{part}", old.trim_end())),
        _ => bail!("the markers of `{name}` are not a pair"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_around_it_stays() {
        let page = with("# Figures\n\nBy hand.\n", "bench", "| a |\n").expect("no markers yet");
        let page = format!("{page}\nBelow, by hand.\n");
        let again = with(&page, "bench", "| b |\n").expect("a pair of markers");
        assert!(again.starts_with("# Figures\n\nBy hand.\n"));
        assert!(again.ends_with("Below, by hand.\n"));
        assert!(again.contains("| b |") && !again.contains("| a |"));
        assert_eq!(with(&again, "bench", "| b |").expect("a pair"), again);
    }

    #[test]
    fn two_parts_do_not_touch_each_other() {
        let page = with("", "one", "first").expect("an empty page");
        let page = with(&page, "two", "second").expect("no markers of it");
        let page = with(&page, "one", "third").expect("a pair");
        assert!(page.contains("third") && page.contains("second") && !page.contains("first"));
    }

    #[test]
    fn half_a_pair_is_refused() {
        let page = with("", "one", "first").expect("an empty page");
        let half = page.replace("<!-- one: until here -->\n", "");
        assert!(with(&half, "one", "second").is_err());
    }
}
