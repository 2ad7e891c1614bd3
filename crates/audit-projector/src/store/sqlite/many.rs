//! Many rows by few statements. Each statement goes to the database's own thread and comes back,
//! which takes longer than most of them do.

use sqlx::query_builder::{QueryBuilder, Separated};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection};

/// Stands in a statement where its rows go.
const ROWS: &str = "{rows}";

/// How many parameters SQLite takes in one statement.
const PARAMETERS_MAX: usize = 32_766;

/// One row that is put together.
pub(super) type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// Runs a statement over rows of so many parameters each, in as few goes as it takes; returns what
/// it answers.
pub(super) async fn run<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    parameters: usize,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let (begin, end) = statement
        .split_once(ROWS)
        .expect("statements over rows say where these go");
    let mut answers = Vec::new();
    for some in rows.chunks(PARAMETERS_MAX / parameters) {
        let mut query = QueryBuilder::<Sqlite>::new(begin);
        query.push_values(some, |mut values, row| bind(&mut values, row));
        query.push(end);
        // Of another length each time: not worth keeping.
        let asked = query.build().persistent(false);
        answers.extend(asked.fetch_all(&mut *connection).await?);
    }
    Ok(answers)
}
