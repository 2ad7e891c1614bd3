//! Products and catalogues, in interactive messages and behind buttons of templates.

use serde_json::{Value, json};

use super::actions::check_title;
use super::limits::{PRODUCTS_MAX, SECTIONS_MAX};
use super::put_texts;
use crate::send::problem::Check;

/// One product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// Its catalogue.
    pub catalog_id: String,
    /// Its id in there.
    pub product_retailer_id: String,
}

/// Several products of one catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductList {
    /// The catalogue.
    pub catalog_id: String,
    /// The parts.
    pub sections: Vec<ProductSection>,
}

/// A part of a list of products.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductSection {
    /// Has to be there if there are several parts.
    pub title: String,
    /// Ids in the catalogue.
    pub product_retailer_ids: Vec<String>,
}

/// The catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The product whose picture stands for it; the first one if empty.
    pub thumbnail_product_retailer_id: String,
}

impl Product {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.filled("catalog_id", &self.catalog_id);
        check.filled("product_retailer_id", &self.product_retailer_id);
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "catalog_id": self.catalog_id,
            "product_retailer_id": self.product_retailer_id,
        })
    }
}

impl ProductList {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.filled("catalog_id", &self.catalog_id);
        check_products(&self.sections, check);
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "catalog_id": self.catalog_id,
            "sections": product_sections(&self.sections),
        })
    }
}

pub(super) fn check_products(sections: &[ProductSection], check: &mut Check<'_>) {
    check.count("sections", sections.len(), 1..=SECTIONS_MAX);
    let mut products = 0;
    for (index, section) in sections.iter().enumerate() {
        let mut check = check.item("sections", index);
        check_title(&section.title, sections.len(), &mut check);
        if section.product_retailer_ids.is_empty() {
            check.problem("product_retailer_ids", "must not be empty");
        }
        for (index, id) in section.product_retailer_ids.iter().enumerate() {
            check.item("product_retailer_ids", index).filled("", id);
        }
        products += section.product_retailer_ids.len();
    }
    if sections.len() <= SECTIONS_MAX && products > PRODUCTS_MAX {
        let reason = format!("have {products} products, at most {PRODUCTS_MAX} are allowed");
        check.problem("sections", reason);
    }
}

pub(super) fn product_sections(sections: &[ProductSection]) -> Value {
    let section = |section: &ProductSection| {
        let ids = section.product_retailer_ids.iter();
        let items: Vec<_> = ids.map(|id| json!({ "product_retailer_id": id })).collect();
        let mut object = json!({ "product_items": items });
        put_texts(&mut object, &[("title", &section.title)]);
        object
    };
    sections.iter().map(section).collect()
}

impl Catalog {
    pub(super) fn json(&self) -> Value {
        let mut object = json!({});
        let thumbnail = &self.thumbnail_product_retailer_id;
        put_texts(&mut object, &[("thumbnail_product_retailer_id", thumbnail)]);
        object
    }
}
