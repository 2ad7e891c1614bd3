//! The rows of the error table. Data only; [`super::lookup`] reads it.
//!
//! Codes and meanings: Meta, "error codes" and the pages that each feature adds to it, as of
//! autumn 2026.

use std::{ops::RangeInclusive, time::Duration};

use super::{Action, Lift, Scope, Traffic};

/// A row: one code or a range of codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The codes it is for.
    pub codes: RangeInclusive<i64>,
    /// What they say, in our words.
    pub meaning: &'static str,
    /// How far they reach.
    pub scope: Scope,
    /// What a sender does.
    pub action: Action,
    /// True if an operator should hear of it.
    pub alert: bool,
}

/// Returns every row; no two overlap.
pub fn rules() -> &'static [Row] {
    ROWS
}

const RETRY: Action = Action::Retry {
    ambiguous: false,
    then_next_route: false,
};
const RETRY_THEN_NEXT_ROUTE: Action = Action::Retry {
    ambiguous: false,
    then_next_route: true,
};
const RETRY_AFTER_RECONCILING: Action = Action::Retry {
    ambiguous: true,
    then_next_route: true,
};

/// Seldom enough that a blocked account does not look like an attack, and often enough that
/// nobody has to remember to lift a halt whose reason is gone.
const PROBE: Lift = Lift::Probe {
    first: Duration::from_mins(15),
    factor: 2,
};
/// Meta: the first pause of a template lasts 3 hours.
const TEMPLATE_PAUSE: Lift = Lift::After(Duration::from_hours(3));

/// The message waits.
const fn halt(lift: Lift) -> Action {
    Action::Halt {
        traffic: Traffic::Everything,
        next_route: false,
        lift,
    }
}

/// The message may take another channel.
const fn halt_next_route(lift: Lift) -> Action {
    Action::Halt {
        traffic: Traffic::Everything,
        next_route: true,
        lift,
    }
}

const fn halt_of(traffic: Traffic, next_route: bool, lift: Lift) -> Action {
    Action::Halt {
        traffic,
        next_route,
        lift,
    }
}

const fn delay(seconds: u64, factor: u32) -> Action {
    Action::Delay {
        first: Duration::from_secs(seconds),
        factor,
    }
}

/// A row that an operator hears of.
const fn alert(code: i64, meaning: &'static str, scope: Scope, action: Action) -> Row {
    Row {
        codes: code..=code,
        meaning,
        scope,
        action,
        alert: true,
    }
}

/// A row of ordinary life.
const fn quiet(code: i64, meaning: &'static str, scope: Scope, action: Action) -> Row {
    Row {
        codes: code..=code,
        meaning,
        scope,
        action,
        alert: false,
    }
}

/// A row for a family of codes; operators hear of all of them.
const fn range(
    codes: RangeInclusive<i64>,
    meaning: &'static str,
    scope: Scope,
    action: Action,
) -> Row {
    Row {
        codes,
        meaning,
        scope,
        action,
        alert: true,
    }
}

// One row a line.
#[rustfmt::skip]
static ROWS: &[Row] = &[
    // Access.
    alert(0, "access token is invalid", Scope::Token, halt_next_route(Lift::NewToken)),
    alert(190, "access token has expired", Scope::Token, halt_next_route(Lift::NewToken)),
    alert(3, "app lacks the capability for this call", Scope::Waba, halt(PROBE)),
    alert(10, "permission is missing or was withdrawn", Scope::Waba, halt(PROBE)),
    range(200..=299, "permission is missing", Scope::Waba, halt(PROBE)),
    alert(131_005, "permission is missing or was withdrawn", Scope::Waba, halt(PROBE)),
    // The platform in general.
    quiet(1, "the platform reports an unknown error", Scope::Message, RETRY_AFTER_RECONCILING),
    quiet(2, "the platform is down or overloaded", Scope::Message, RETRY_AFTER_RECONCILING),
    quiet(131_000, "the platform failed for an unknown reason", Scope::Message, RETRY_THEN_NEXT_ROUTE),
    quiet(131_016, "a service of the platform is unavailable", Scope::Message, RETRY),
    quiet(131_057, "the number is in maintenance, for about a minute", Scope::Number, delay(60, 1)),
    // Rates.
    quiet(4, "the app has reached its call limit", Scope::App, delay(60, 2)),
    quiet(80_007, "the business account has reached its call limit", Scope::Waba, delay(60, 2)),
    quiet(130_429, "the number has reached its throughput", Scope::Number, delay(1, 2)),
    // Meta advises 4^X seconds, X from 0.
    quiet(131_056, "too many messages to this customer at once", Scope::Pair, delay(1, 4)),
    alert(131_048, "too many of the number's messages were taken for spam", Scope::Number, halt_of(Traffic::Marketing, true, Lift::Operator)),
    // The request.
    alert(100, "a parameter is wrong or unsupported", Scope::Message, Action::Fail),
    alert(131_008, "a required parameter is missing", Scope::Message, Action::Fail),
    alert(131_009, "a parameter's value is not valid", Scope::Message, Action::Fail),
    alert(135_000, "a parameter is wrong, the platform does not say which", Scope::Message, Action::Fail),
    range(2_494_000..=2_494_999, "another responder has the thread", Scope::Pair, Action::ThreadControl),
    quiet(131_021, "sender and recipient are the same", Scope::Message, Action::Fail),
    quiet(131_051, "message type is not supported", Scope::Message, Action::Fail),
    quiet(131_052, "a customer's media could not be downloaded", Scope::Message, Action::Fail),
    quiet(131_053, "media could not be uploaded", Scope::Message, Action::Fail),
    quiet(131_062, "this message cannot go to a user id", Scope::Message, Action::SwitchToPhone),
    // The account.
    alert(368, "the account is blocked for a policy violation", Scope::Waba, halt_next_route(Lift::Operator)),
    alert(131_031, "the account is locked", Scope::Waba, halt_next_route(Lift::Operator)),
    alert(131_042, "there is a problem with the payment method", Scope::Waba, halt_next_route(PROBE)),
    alert(131_064, "templates are limited for category violations", Scope::Waba, halt_of(Traffic::Templates, false, PROBE)),
    // The number.
    alert(33, "the number was deleted", Scope::Number, halt(Lift::Operator)),
    alert(131_037, "the number's display name is not approved", Scope::Number, halt(PROBE)),
    alert(131_045, "the number's registration or certificate is wrong", Scope::Number, halt(PROBE)),
    alert(133_000, "an earlier deregistration did not finish", Scope::Number, halt(PROBE)),
    quiet(133_004, "the registration server is unavailable", Scope::Number, RETRY),
    alert(133_005, "two-step PIN is wrong", Scope::Number, Action::Fail),
    alert(133_006, "the number must be verified again", Scope::Number, halt(PROBE)),
    alert(133_008, "two-step PIN was wrong too often", Scope::Number, Action::Fail),
    alert(133_009, "two-step PIN was entered too fast", Scope::Number, Action::Fail),
    alert(133_010, "the number is not registered", Scope::Number, halt(PROBE)),
    alert(133_015, "the number was deleted moments ago", Scope::Number, halt(PROBE)),
    alert(133_016, "registered and deregistered too often: locked for 72 hours", Scope::Number, Action::Fail),
    alert(136_024, "a verification code was requested too often or too soon", Scope::Number, halt(PROBE)),
    // The recipient.
    quiet(130_403, "the business has blocked this customer", Scope::Pair, Action::Fail),
    quiet(130_472, "the customer is held out of marketing by an experiment", Scope::Pair, Action::NextRoute),
    alert(130_497, "the business may not write to this country", Scope::Message, Action::NextRoute),
    quiet(131_026, "undeliverable: not on WhatsApp, too old an app, terms not accepted, or blocked", Scope::Pair, Action::NextRoute),
    alert(131_030, "the recipient is not on the test number's list", Scope::Pair, Action::Fail),
    quiet(131_035, "not stored, and its webhook was lost", Scope::Message, Action::NextRoute),
    quiet(131_036, "not stored, and the first device could not read it", Scope::Message, Action::NextRoute),
    quiet(131_047, "more than 24 hours since the customer last wrote", Scope::Pair, Action::SwitchToTemplate),
    quiet(131_049, "the customer has had enough marketing for now", Scope::Pair, Action::MarketingCapped { not_before: Duration::from_hours(24) }),
    quiet(131_050, "the customer stopped marketing from this business", Scope::Pair, Action::SuppressMarketing),
    quiet(131_060, "a customer's message is not available", Scope::Message, Action::Ignore),
    // Templates and flows.
    alert(132_000, "wrong number of template parameters", Scope::Message, Action::NextRoute),
    alert(132_001, "template does not exist in this language, or is not approved", Scope::Template, Action::TemplateUnusable { lift: PROBE }),
    quiet(132_005, "template is too long once filled in", Scope::Message, Action::NextRoute),
    alert(132_007, "template violates a content policy", Scope::Template, Action::Fail),
    alert(132_008, "template parameters do not fit", Scope::Message, Action::NextRoute),
    alert(132_012, "a template parameter has the wrong format", Scope::Message, Action::NextRoute),
    alert(132_015, "template is paused, or the held message was dropped", Scope::Template, Action::TemplateUnusable { lift: TEMPLATE_PAUSE }),
    alert(132_016, "template is disabled for good", Scope::Template, Action::TemplateUnusable { lift: Lift::Operator }),
    alert(132_018, "template parameters do not fit", Scope::Message, Action::NextRoute),
    alert(132_068, "flow is blocked", Scope::Template, Action::Fail),
    quiet(132_069, "flow is throttled to ten messages an hour", Scope::Template, Action::Fail),
    // Marketing at the wrong endpoint.
    quiet(131_055, "the marketing endpoint takes marketing only", Scope::Message, Action::OtherEndpoint),
    quiet(131_063, "marketing is disabled at this endpoint", Scope::Message, Action::OtherEndpoint),
    quiet(134_100, "the marketing endpoint takes marketing templates only", Scope::Message, Action::OtherEndpoint),
    quiet(134_101, "the marketing endpoint does not know the template yet", Scope::Template, delay(600, 1)),
    quiet(134_102, "the marketing endpoint cannot use the template", Scope::Template, Action::OtherEndpoint),
    // What no sender meets, but operators do.
    alert(134_011, "payment terms are not accepted", Scope::Waba, Action::Fail),
    alert(139_100, "some customers could not be blocked", Scope::Number, Action::Ignore),
    range(2_388_000..=2_388_999, "template or number management failed", Scope::Waba, Action::Fail),
    range(2_593_107..=2_593_109, "shared history cannot be had (once, within 24 hours, if allowed)", Scope::Number, Action::Fail),
];
