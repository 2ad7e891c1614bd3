//! The platform's limits on outgoing messages, each with a name. Lengths are in characters
//! (WhatsApp Cloud API: messages, interactive messages, message templates).

/// Longest `text.body`.
pub const TEXT_CHARS_MAX: usize = 4096;
/// Longest `biz_opaque_callback_data`.
pub const CALLBACK_DATA_CHARS_MAX: usize = 512;
/// Longest caption of an image, a video or a document.
pub const CAPTION_CHARS_MAX: usize = 1024;
/// Most cards in a message of contacts.
pub const CONTACTS_MAX: usize = 257;
/// No emoji has as many code points; what is longer is none.
pub const EMOJI_CHARS_MAX: usize = 16;

/// Longest body of an interactive message, but for lists.
pub const INTERACTIVE_BODY_CHARS_MAX: usize = 1024;
/// Longest body of a list.
pub const LIST_BODY_CHARS_MAX: usize = 4096;
/// Longest header that is text.
pub const HEADER_CHARS_MAX: usize = 60;
/// Longest footer.
pub const FOOTER_CHARS_MAX: usize = 60;
/// Most reply buttons.
pub const BUTTONS_MAX: usize = 3;
/// Longest id of a reply button.
pub const BUTTON_ID_CHARS_MAX: usize = 256;
/// Longest text of any button.
pub const BUTTON_TITLE_CHARS_MAX: usize = 20;
/// Most sections of a list, and of a product list.
pub const SECTIONS_MAX: usize = 10;
/// Longest title of a section.
pub const SECTION_TITLE_CHARS_MAX: usize = 24;
/// Most rows of a list, in all sections together.
pub const ROWS_MAX: usize = 10;
/// Longest id of a row.
pub const ROW_ID_CHARS_MAX: usize = 200;
/// Longest title of a row.
pub const ROW_TITLE_CHARS_MAX: usize = 24;
/// Longest description of a row.
pub const ROW_DESCRIPTION_CHARS_MAX: usize = 72;
/// Most products of a product list, in all sections together.
pub const PRODUCTS_MAX: usize = 30;
/// Longest text of a flow's button.
pub const FLOW_CTA_CHARS_MAX: usize = 30;
/// Longest time that a call button works, in minutes.
pub const CALL_BUTTON_MINUTES_MAX: u32 = 43_200;
/// Longest payload of a call button.
pub const CALL_PAYLOAD_CHARS_MAX: usize = 512;

/// Longest template name.
pub const TEMPLATE_NAME_CHARS_MAX: usize = 512;
/// Longest language code, such as `pt_BR`.
pub const LANGUAGE_CHARS_MAX: usize = 16;
/// Most buttons of a template; their places are 0 to 9.
pub const TEMPLATE_BUTTONS_MAX: usize = 10;
/// Most cards of a carousel template.
pub const TEMPLATE_CARDS_MAX: usize = 10;

/// Largest raw object, in bytes. Ours: the platform says none, and every body has a limit.
pub const RAW_BYTES_MAX: usize = 64 * 1024;
