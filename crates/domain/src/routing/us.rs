//! Which phones have an area code of the United States.
//!
//! The United States share the calling code 1 with Canada and with islands, so that the area code
//! tells them apart. A mobile number keeps its area code when its owner moves: the platform goes by
//! the number, and so does this.

use crate::id::Phone;

/// Area codes of the fifty states and the District of Columbia, ascending (NANPA: area codes by
/// location, in service or announced in 2025). Not those of the territories, of which the platform
/// does not say whether it counts them, nor codes of no place such as toll-free ones: what is not
/// here is left to the platform to refuse.
#[rustfmt::skip]
const AREA_CODES: &[u16] = &[
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218,
    219, 220, 223, 224, 225, 227, 228, 229, 231, 234, 235, 239, 240, 248, 251, 252,
    253, 254, 256, 260, 262, 267, 269, 270, 272, 274, 276, 279, 281, 283, 301, 302,
    303, 304, 305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320,
    321, 323, 324, 325, 326, 327, 329, 330, 331, 332, 334, 336, 337, 339, 341, 346,
    347, 350, 351, 352, 353, 360, 361, 363, 364, 369, 380, 385, 386, 401, 402, 404,
    405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 423, 424, 425, 430,
    432, 434, 435, 440, 442, 443, 445, 447, 448, 458, 463, 464, 469, 470, 472, 475,
    478, 479, 480, 484, 501, 502, 503, 504, 505, 507, 508, 509, 510, 512, 513, 515,
    516, 517, 518, 520, 530, 531, 534, 539, 540, 541, 551, 557, 559, 561, 562, 563,
    564, 567, 570, 571, 572, 573, 574, 575, 580, 582, 585, 586, 601, 602, 603, 605,
    606, 607, 608, 609, 610, 612, 614, 615, 616, 617, 618, 619, 620, 623, 626, 628,
    629, 630, 631, 636, 640, 641, 645, 646, 650, 651, 656, 657, 659, 660, 661, 662,
    667, 669, 678, 680, 681, 682, 686, 689, 701, 702, 703, 704, 706, 707, 708, 712,
    713, 714, 715, 716, 717, 718, 719, 720, 724, 725, 726, 727, 728, 730, 731, 732,
    734, 737, 738, 740, 743, 747, 748, 754, 757, 760, 762, 763, 765, 769, 770, 771,
    772, 773, 774, 775, 779, 781, 785, 786, 801, 802, 803, 804, 805, 806, 808, 810,
    812, 813, 814, 815, 816, 817, 818, 820, 821, 826, 828, 830, 831, 832, 835, 838,
    839, 840, 843, 845, 847, 848, 850, 854, 856, 857, 858, 859, 860, 862, 863, 864,
    865, 870, 872, 878, 901, 903, 904, 906, 907, 908, 909, 910, 912, 913, 914, 915,
    916, 917, 918, 919, 920, 925, 928, 929, 930, 931, 934, 936, 937, 938, 940, 941,
    943, 945, 947, 948, 949, 951, 952, 954, 956, 959, 970, 971, 972, 973, 975, 978,
    979, 980, 983, 984, 985, 986, 989,
];

/// Returns whether a phone has an area code of the United States.
pub fn is_of_the_us(phone: &Phone) -> bool {
    let digits = phone.digits();
    let is_whole = digits.len() == 11;
    let area = digits.strip_prefix('1').and_then(|rest| rest.get(..3));
    area.and_then(|area| area.parse().ok())
        .is_some_and(|area| is_whole && AREA_CODES.binary_search(&area).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_codes_ascend_so_that_they_are_found() {
        assert!(AREA_CODES.is_sorted());
        assert!(AREA_CODES.iter().all(|code| (201..=989).contains(code)));
    }

    #[test]
    fn the_united_states_are_told_from_who_shares_their_calling_code() {
        for (phone, expected) in [
            // New York, Los Angeles, Honolulu, Anchorage.
            ("+12125550100", true),
            ("+12135550100", true),
            ("+18085550100", true),
            ("+19075550100", true),
            // Toronto, Vancouver, Nassau, Kingston, San Juan.
            ("+14165550100", false),
            ("+16045550100", false),
            ("+12425550100", false),
            ("+18765550100", false),
            ("+17875550100", false),
            // Toll-free; a code of nobody; Berlin.
            ("+18005550100", false),
            ("+15550002222", false),
            ("+493012345678", false),
        ] {
            let phone = Phone::parse(phone).unwrap();
            assert_eq!(is_of_the_us(&phone), expected, "{}", phone.e164());
        }
    }
}
