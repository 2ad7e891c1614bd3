//! The measure `archive`, small: everything is archived, found, and verified in both databases.

mod small;

#[test]
fn what_the_log_has_is_archived_read_and_verified_in_both_databases() {
    let said = small::run(
        "archive --conversations 300 --bulk 400 --rate 200 --seconds 2 --reads 20",
        &[],
    );
    for database in ["SQLite, 300", "PostgreSQL, 300"] {
        assert!(said.contains(database), "{database}:\n{said}");
    }
    for figure in [
        "events archived from the log",
        "raw bulk load of the same rows",
        "behind at 200 events a second",
        "GetConversation",
        "ListConversations, by end of the window",
        "verification",
        "an event in the archive",
    ] {
        let rows = said.lines().filter(|line| line.contains(figure)).count();
        assert_eq!(rows, 2, "{figure}:\n{said}");
    }
}
