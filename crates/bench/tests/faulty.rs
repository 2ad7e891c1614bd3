//! The check of `dispatch --only faulty`, small: the same claims, by the same program.

mod small;

#[test]
fn messages_to_a_faulty_provider_by_a_killed_dispatcher_all_end_and_each_attempt_is_called_once() {
    let said = small::run(
        "dispatch --only faulty --messages 300 --kills 2 --severity 5",
        &[],
    );
    assert!(said.contains("every claim holds"), "{said}");
    // A run in which nothing went wrong would show nothing.
    for happened in [
        "attempts of unknown outcome",
        "risks taken: repeated without knowing",
    ] {
        let row = said.lines().find(|line| line.contains(happened));
        let row = row.unwrap_or_else(|| panic!("no row of {happened}:\n{said}"));
        assert!(!row.ends_with("| 0 |"), "{row}");
    }
}
