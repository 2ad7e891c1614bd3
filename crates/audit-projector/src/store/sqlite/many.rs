//! Many rows by few statements. Each statement goes to the database's own thread and comes back,
//! which takes longer than most of them do. And each is parsed and planned before it is run for the
//! first time, which takes longer than a few rows do: so they come in few lengths, and are kept.

use sqlx::query_builder::{QueryBuilder, Separated};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection};

/// Stands in a statement where its rows go.
const ROWS: &str = "{rows}";

/// Most rows of one statement, a power of two. Of the widest rows (35 parameters) it is far below
/// the 32,766 parameters that SQLite takes.
const ROWS_MAX: usize = 64;

/// How many statements a connection keeps that runs rows by them: seven lengths of each of the seven
/// that are here, and as many again that are none of these.
pub(super) const STATEMENTS_KEPT: usize = 100;

/// One row that is put together.
pub(super) type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// Runs a statement over rows, in goes of lengths that were met before; returns what it answers.
pub(super) async fn run<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
    bind: impl Fn(&mut Values<'_>, &T),
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let (begin, end) = statement
        .split_once(ROWS)
        .expect("statements over rows say where these go");
    let mut answers = Vec::new();
    let mut rest = rows;
    for length in lengths(rows.len()) {
        let (some, after) = rest.split_at(length);
        rest = after;
        let mut query = QueryBuilder::<Sqlite>::new(begin);
        query.push_values(some, |mut values, row| bind(&mut values, row));
        query.push(end);
        answers.extend(query.build().fetch_all(&mut *connection).await?);
    }
    Ok(answers)
}

/// Divides so many rows into powers of two, the largest first.
fn lengths(count: usize) -> impl Iterator<Item = usize> {
    let mut left = count;
    std::iter::from_fn(move || {
        let exponent = left.checked_ilog2()?;
        let length = (1 << exponent).min(ROWS_MAX);
        left -= length;
        Some(length)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_are_divided_into_few_lengths() {
        for (count, expected) in [
            (0, vec![]),
            (1, vec![1]),
            (7, vec![4, 2, 1]),
            (64, vec![64]),
            (127, vec![64, 32, 16, 8, 4, 2, 1]),
            (256, vec![64, 64, 64, 64]),
        ] {
            assert_eq!(lengths(count).collect::<Vec<_>>(), expected, "{count} rows");
        }
    }

    proptest! {
        #[test]
        fn no_row_is_left_out_and_no_length_is_new(count in 0_usize..2_000) {
            let all: Vec<_> = lengths(count).collect();
            prop_assert_eq!(all.iter().sum::<usize>(), count);
            prop_assert!(all.iter().all(|length| length.is_power_of_two() && *length <= ROWS_MAX));
            prop_assert!(all.len() <= count / ROWS_MAX + 6);
        }
    }
}
