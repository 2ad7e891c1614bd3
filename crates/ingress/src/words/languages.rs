//! The words that are known unless told otherwise.
//!
//! For SMS in English and French those that carriers in the United States and Canada ask for, and
//! that the rule on revoking consent names (47 CFR 64.1200(a)(10)); `TD` is what gateways in China
//! take. In other languages what businesses there print under their messages, where it means nothing
//! else when it stands alone. For WhatsApp, where customers answer questions all day, only what no
//! answer is.

use super::{Languages, Words};

/// A language with its words to stop, to start again, and for help.
type Language<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

const SMS: &[Language<'_>] = &[
    (
        "ar",
        &["إيقاف", "قف", "إلغاء الاشتراك"],
        &["اشتراك"],
        &["مساعدة"],
    ),
    (
        "de",
        &["STOPP", "ABMELDEN", "ABBESTELLEN"],
        &["ANMELDEN"],
        &["HILFE"],
    ),
    (
        "en",
        &[
            "STOP",
            "STOPALL",
            "STOP ALL",
            "UNSUBSCRIBE",
            "CANCEL",
            "END",
            "QUIT",
            "REVOKE",
            "REMOVE",
            "OPTOUT",
            "OPT OUT",
            "OPT-OUT",
        ],
        &["START", "YES", "UNSTOP"],
        &["HELP", "INFO"],
    ),
    ("es", &["PARAR", "BAJA", "CANCELAR"], &["ALTA"], &["AYUDA"]),
    (
        "fr",
        &["ARRET", "ARRÊT", "DESABONNER", "DÉSABONNER"],
        &["REPRENDRE"],
        &["AIDE"],
    ),
    ("he", &["הסר", "הסרה"], &[], &["עזרה"]),
    ("id", &["BERHENTI"], &["MULAI"], &["BANTUAN"]),
    ("it", &["FERMA", "CANCELLAMI"], &["RIPRENDI"], &["AIUTO"]),
    (
        "ja",
        &["停止", "配信停止"],
        &["再開", "配信再開"],
        &["ヘルプ"],
    ),
    ("nl", &["AFMELDEN", "UITSCHRIJVEN"], &["AANMELDEN"], &[]),
    ("pl", &["WYPISZ", "REZYGNUJE", "REZYGNUJĘ"], &[], &["POMOC"]),
    (
        "pt",
        &["PARAR", "SAIR", "CANCELAR"],
        &["VOLTAR"],
        &["AJUDA"],
    ),
    ("ru", &["СТОП", "ОТПИСАТЬСЯ"], &["СТАРТ"], &["ПОМОЩЬ"]),
    (
        "tr",
        &["RET", "IPTAL", "İPTAL"],
        &["BASLA", "BAŞLA"],
        &["YARDIM"],
    ),
    ("zh", &["TD", "退订", "退訂"], &[], &["帮助", "幫助"]),
];

const WHATSAPP: &[Language<'_>] = &[
    ("de", &["STOPP", "ABBESTELLEN"], &[], &[]),
    (
        "en",
        &[
            "STOP",
            "STOPALL",
            "STOP ALL",
            "STOP PROMOTIONS",
            "UNSUBSCRIBE",
            "OPTOUT",
            "OPT OUT",
            "OPT-OUT",
        ],
        &["UNSTOP", "OPT IN", "OPT-IN", "RESUME PROMOTIONS"],
        &[],
    ),
    ("es", &["DARME DE BAJA"], &[], &[]),
    (
        "fr",
        &["ARRET", "ARRÊT", "DESABONNER", "DÉSABONNER"],
        &[],
        &[],
    ),
    ("it", &["CANCELLAMI"], &[], &[]),
    ("nl", &["AFMELDEN", "UITSCHRIJVEN"], &[], &[]),
    ("pt", &["SAIR"], &[], &[]),
    ("ru", &["СТОП", "ОТПИСАТЬСЯ"], &[], &[]),
];

/// Returns the words in SMS.
pub(crate) fn sms() -> Languages {
    all(SMS)
}

/// Returns the words in WhatsApp messages.
pub(crate) fn whatsapp() -> Languages {
    all(WHATSAPP)
}

fn all(languages: &[Language<'_>]) -> Languages {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let languages = languages.iter();
    languages
        .map(|(language, stop, start, help)| {
            let words = Words {
                stop: list(stop),
                start: list(start),
                help: list(help),
            };
            ((*language).to_owned(), words)
        })
        .collect()
}
