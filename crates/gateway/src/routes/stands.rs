//! Calls about how things stand: figures, numbers, what is stuck, who did what.

use casement_shell::auth::Scope;

use super::{Call, call, get, post};

const AUDIT: &str = "casement.audit.v1.AuditService";
const FIGURES: &str = "casement.figures.v1.FiguresService";
const REPAIR: &str = "casement.repair.v1.RepairService";

pub(super) const CALLS: &[Call] = &[
    call(
        FIGURES,
        "ListDailyFigures",
        Scope::Read,
        &[get("/v1/dailyFigures"), post("/v1/dailyFigures:list")],
    ),
    call(
        FIGURES,
        "GetFigures",
        Scope::Read,
        &[get("/v1/figures:sum"), post("/v1/figures:sum")],
    ),
    call(
        FIGURES,
        "ListNumberOverviews",
        Scope::Read,
        &[get("/v1/numberOverviews")],
    ),
    call(
        FIGURES,
        "WatchNumberOverviews",
        Scope::Read,
        &[get("/v1/numberOverviews:watch")],
    ),
    call(
        FIGURES,
        "ListTemplateFigures",
        Scope::Read,
        &[get("/v1/templateFigures")],
    ),
    call(
        FIGURES,
        "ListStuckWork",
        Scope::Read,
        &[get("/v1/stuckWork"), post("/v1/stuckWork:list")],
    ),
    call(
        REPAIR,
        "ListDeadLetters",
        Scope::Audit,
        &[get("/v1/deadLetters"), post("/v1/deadLetters:list")],
    ),
    call(
        REPAIR,
        "GetDeadLetter",
        Scope::Audit,
        &[post("/v1/deadLetters:get")],
    ),
    call(
        REPAIR,
        "RetryDeadLetters",
        Scope::Admin,
        &[post("/v1/deadLetters:retry")],
    ),
    call(
        REPAIR,
        "DropDeadLetters",
        Scope::Admin,
        &[post("/v1/deadLetters:drop")],
    ),
    call(
        REPAIR,
        "ListParkedPosts",
        Scope::Admin,
        &[get("/v1/parkedPosts")],
    ),
    call(
        REPAIR,
        "ReplayParkedPosts",
        Scope::Admin,
        &[post("/v1/parkedPosts/{phone_number_id}:replay")],
    ),
    call(
        AUDIT,
        "ListActs",
        Scope::Audit,
        &[get("/v1/acts"), post("/v1/acts:list")],
    ),
];
