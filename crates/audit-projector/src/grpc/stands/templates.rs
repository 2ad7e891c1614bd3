//! Templates as they stand, and what became of their messages.

use std::collections::{BTreeMap, BTreeSet};

use casement_event::v1::{self, TemplateQuality};
use casement_proto::figures::v1 as proto;
use prost::Message as _;
use tonic::Status;

use super::numbers::Records;
use super::{PAGE_LEN, PAGE_LEN_MAX, misnamed};
use crate::figures::{Calendar, Measure};
use crate::grpc::{Backend, bad_token, one_brand, page_size, unanswered};
use crate::page;
use crate::store::{Error, RecordKind, SumFilter};

const MEASURES: [Measure; 4] = [
    Measure::TemplateSent,
    Measure::TemplateDelivered,
    Measure::TemplateRead,
    Measure::TemplateFailed,
];

pub(super) async fn list(
    backend: &Backend,
    own: Option<String>,
    request: proto::ListTemplateFiguresRequest,
) -> Result<proto::ListTemplateFiguresResponse, Status> {
    let brand_id = one_brand(own, &request.brand_id)?;
    let rows_max = page_size(request.page_size, PAGE_LEN, PAGE_LEN_MAX)?;
    let days = (
        request.start_date.as_str(),
        request.end_date.as_str(),
        request.time_zone.as_str(),
    );
    let now = backend.clock.now();
    let calendar = Calendar::of(days, None, now).map_err(|error| misnamed(&error))?;
    let question = [
        brand_id.as_deref().unwrap_or("*"),
        &request.waba_id,
        &request.name,
    ];
    let after = page::key::<String>(&question, &request.page_token).map_err(bad_token)?;
    let generation = backend.figures(&request.not_before).await?;
    let answer = async {
        let records = Records::read(backend, generation, now).await?;
        // By WABA, those who send as its templates.
        let mut senders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for number in records.numbers.values() {
            if brand_id
                .as_ref()
                .is_none_or(|brand_id| *brand_id == number.brand_id)
            {
                let of_waba = senders.entry(number.waba_id.as_str()).or_default();
                of_waba.insert(number.number.as_str());
            }
        }
        let found = backend
            .store
            .records(generation, RecordKind::Template)
            .await?;
        let mut templates: Vec<(String, v1::Template)> = found
            .into_iter()
            .filter_map(|(name, record)| Some((name, v1::Template::decode(&*record).ok()?)))
            .filter(|(name, template)| {
                let is_theirs =
                    brand_id.is_none() || senders.contains_key(template.waba_id.as_str());
                let is_asked = request.waba_id.is_empty() || request.waba_id == template.waba_id;
                let is_new = after.as_ref().is_none_or(|after| name > after);
                is_theirs && is_asked && is_new && template.name.contains(&request.name)
            })
            .take(rows_max + 1)
            .collect();
        let has_more = templates.len() > rows_max;
        templates.truncate(rows_max);
        let last = templates.last().filter(|_| has_more);
        let next_page_token = last.map(|(name, _)| page::token(&question, name.clone()));
        let traffic = traffic(backend, generation, &calendar, brand_id.clone(), &templates).await?;
        let templates = templates.into_iter().map(|(_, template)| {
            let none = BTreeSet::new();
            let senders = senders.get(template.waba_id.as_str()).unwrap_or(&none);
            shown(template, senders, &traffic)
        });
        Ok(proto::ListTemplateFiguresResponse {
            templates: templates.collect(),
            next_page_token: next_page_token.unwrap_or_default(),
            time_zone: calendar.zone_name.clone(),
        })
    };
    answer.await.map_err(|error: Error| unanswered(&error))
}

/// By template, by number, by day, newest first.
type Traffic = BTreeMap<String, Vec<(String, proto::TemplateDay)>>;

async fn traffic(
    backend: &Backend,
    generation: i64,
    calendar: &Calendar,
    brand_id: Option<String>,
    templates: &[(String, v1::Template)],
) -> Result<Traffic, Error> {
    let details: BTreeSet<String> = templates
        .iter()
        .map(|(_, template)| detail(template))
        .collect();
    let mut traffic = Traffic::new();
    if details.is_empty() {
        return Ok(traffic);
    }
    let filter = SumFilter {
        brand_id,
        measures: MEASURES.to_vec(),
        details: details.into_iter().collect(),
        ..SumFilter::default()
    };
    let (first, mut end) = calendar.all_quarters();
    let store = &backend.store;
    while let Some(last) = store
        .last_quarter(generation, &filter, (first, end))
        .await?
    {
        let date = calendar.day(last);
        let quarters = calendar.quarters(date);
        let date = date.to_string();
        for sum in store.sums(generation, &filter, quarters).await? {
            let mut day = proto::TemplateDay {
                date: date.clone(),
                ..proto::TemplateDay::default()
            };
            let value = u64::try_from(sum.value).unwrap_or_default();
            match sum.measure {
                Measure::TemplateSent => day.sent_count = value,
                Measure::TemplateDelivered => day.delivered_count = value,
                Measure::TemplateRead => day.read_count = value,
                _ => day.failed_count = value,
            }
            traffic
                .entry(sum.detail)
                .or_default()
                .push((sum.number, day));
        }
        end = quarters.0;
    }
    Ok(traffic)
}

fn detail(template: &v1::Template) -> String {
    format!("{}/{}", template.name, template.language)
}

fn shown(
    template: v1::Template,
    senders: &BTreeSet<&str>,
    traffic: &Traffic,
) -> proto::TemplateFigures {
    let mut days: Vec<proto::TemplateDay> = Vec::new();
    let mut total = proto::TemplateDay::default();
    let of_template = traffic.get(&detail(&template));
    for (number, part) in of_template.into_iter().flatten() {
        if !senders.contains(number.as_str()) {
            continue;
        }
        add(&mut total, part);
        match days.last_mut().filter(|day| day.date == part.date) {
            Some(day) => add(day, part),
            None => days.push(part.clone()),
        }
    }
    let quality = match template.quality() {
        TemplateQuality::Unspecified => String::new(),
        quality => quality
            .as_str_name()
            .trim_start_matches("TEMPLATE_QUALITY_")
            .to_owned(),
    };
    proto::TemplateFigures {
        status: template.status,
        category: template.category,
        quality,
        waba_id: template.waba_id,
        name: template.name,
        language: template.language,
        days,
        total: Some(total),
    }
}

fn add(to: &mut proto::TemplateDay, part: &proto::TemplateDay) {
    to.sent_count += part.sent_count;
    to.delivered_count += part.delivered_count;
    to.read_count += part.read_count;
    to.failed_count += part.failed_count;
}
