//! Where a conversation stands for those who would answer.
//!
//! A reading of facts at a time; nothing is stored of it. The window's own rules are elsewhere:
//! this takes the window as it was published, which may be early by its granularity, never late.

use jiff::Timestamp;

/// What is known of a conversation's course.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Course {
    /// When the window ends, if it was last published as open.
    pub open_until: Option<Timestamp>,
    /// Whether it was announced that this end is near.
    pub is_end_announced: bool,
    /// When the window closed or will; `None` if there never was one.
    pub locked_at: Option<Timestamp>,
    /// When the customer last did something, by any channel.
    pub heard_at: Option<Timestamp>,
    /// When the platform took the last template that it did not fail to deliver.
    pub template_at: Option<Timestamp>,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The customer may be answered freely.
    Open,
    /// As open, and the first announcement of its end is out.
    Expiring,
    /// Only a template or another channel gets through.
    Locked,
    /// Locked; a template was sent since, and the customer has not written.
    AwaitingReply,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [
        Self::Open,
        Self::Expiring,
        Self::Locked,
        Self::AwaitingReply,
    ];
}

impl Course {
    /// Returns where the conversation stands at a time.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.open_until.is_some_and(|until| now < until) {
            return if self.is_end_announced {
                Status::Expiring
            } else {
                Status::Open
            };
        }
        let is_awaited = self.template_at.is_some_and(|template_at| {
            let is_since_lock = self.locked_at.is_none_or(|locked| locked <= template_at);
            is_since_lock && self.heard_at.is_none_or(|heard| heard < template_at)
        });
        if is_awaited {
            Status::AwaitingReply
        } else {
            Status::Locked
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn course(
        open_until: Option<i64>,
        is_end_announced: bool,
        locked_at: Option<i64>,
        heard_at: Option<i64>,
        template_at: Option<i64>,
    ) -> Course {
        Course {
            open_until: open_until.map(at),
            is_end_announced,
            locked_at: locked_at.map(at),
            heard_at: heard_at.map(at),
            template_at: template_at.map(at),
        }
    }

    #[test]
    fn a_status_follows_from_window_template_and_customer() {
        let open = course(Some(200), false, Some(200), Some(100), None);
        let expiring = Course {
            is_end_announced: true,
            ..open
        };
        let templated = |second| Course {
            template_at: Some(at(second)),
            ..expiring
        };
        let table = [
            ("within the window", open, 150, Status::Open),
            ("its end announced", expiring, 150, Status::Expiring),
            ("at its end", expiring, 200, Status::Locked),
            // Whether or not WindowExpired has come.
            ("after its end, untold", open, 250, Status::Locked),
            ("a template within", templated(150), 160, Status::Expiring),
            ("… and then its end", templated(150), 250, Status::Locked),
            (
                "a template since",
                templated(210),
                250,
                Status::AwaitingReply,
            ),
            ("at that second", templated(200), 250, Status::AwaitingReply),
            (
                "the customer wrote since, by a channel that opens no window",
                Course {
                    heard_at: Some(at(220)),
                    ..templated(210)
                },
                250,
                Status::Locked,
            ),
            (
                "corrected before its end, then a template",
                course(None, false, Some(120), Some(100), Some(130)),
                150,
                Status::AwaitingReply,
            ),
            ("never wrote", Course::default(), 150, Status::Locked),
            (
                "written to first",
                course(None, false, None, None, Some(130)),
                150,
                Status::AwaitingReply,
            ),
        ];
        for (name, course, now, expected) in table {
            assert_eq!(course.status(at(now)), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_awaited_who_wrote_since_and_nothing_is_open_after_its_end(
            open_until in proptest::option::of(0..9_i64),
            announced in any::<bool>(),
            locked_at in proptest::option::of(0..9_i64),
            heard_at in proptest::option::of(0..9_i64),
            template_at in proptest::option::of(0..9_i64),
            now in 0..9_i64,
        ) {
            let course = course(open_until, announced, locked_at, heard_at, template_at);
            let status = course.status(at(now));
            let is_open = matches!(status, Status::Open | Status::Expiring);
            prop_assert_eq!(is_open, open_until.is_some_and(|until| now < until));
            if status == Status::AwaitingReply {
                let template_at = template_at.unwrap();
                prop_assert!(heard_at.is_none_or(|heard| heard < template_at));
                prop_assert!(locked_at.is_none_or(|locked| locked <= template_at));
            }
            // Time alone never ends a wait.
            if status == Status::AwaitingReply {
                prop_assert_eq!(course.status(at(now + 1_000)), status);
            }
        }
    }
}
