//! Listing: the pages of a scan, each asked for when the one before is used up, filtered and projected by the service.
//!
//! The service charges for what it reads, bodies and other kinds included, and sends only what is asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::item::{Expression, Item};
use crate::table::Table;

impl Table {
    /// The items for which `filter` holds, with these attributes beside their keys.
    pub(crate) fn scan(
        self: &Arc<Self>,
        filter: impl Fn() -> Expression + Clone + Send + 'static,
        attributes: &[&str],
        consistent: bool,
    ) -> BoxStream<'static, Result<Item>> {
        let (projection, names) = self.projection(attributes);
        let segments = (0..self.segments).map(|segment| {
            let request = self.segment(segment).consistent_read(consistent).projection_expression(&projection);
            pages(Arc::clone(self), request, filter.clone(), names.clone())
                .map_ok(|page| stream::iter(page.items.into_iter().map(Ok)))
                .try_flatten()
                .boxed()
        });
        stream::select_all(segments).boxed()
    }

    /// How many items there are for which `filter` holds.
    pub(crate) async fn count(
        self: &Arc<Self>,
        filter: impl Fn() -> Expression + Clone + Send + 'static,
    ) -> Result<u64> {
        let segments = (0..self.segments).map(|segment| {
            let request = self.segment(segment).consistent_read(self.consistent_read).select(Select::Count);
            pages(Arc::clone(self), request, filter.clone(), HashMap::new()).boxed()
        });
        let counts = stream::select_all(segments).map_ok(|page| page.count);
        counts.try_fold(0_u64, async |sum, count| Ok(sum.saturating_add(count))).await
    }

    fn segment(&self, segment: u16) -> ScanFluentBuilder {
        let request = self.client.scan().table_name(&self.name);
        if self.segments == 1 {
            return request;
        }
        request.segment(i32::from(segment)).total_segments(i32::from(self.segments))
    }
}

struct Page {
    items: VecDeque<Item>,
    count: u64,
}

enum Cursor {
    Start,
    After(Item),
    End,
}

fn pages(
    table: Arc<Table>,
    request: ScanFluentBuilder,
    filter: impl Fn() -> Expression + Send + 'static,
    names: HashMap<String, String>,
) -> impl futures_core::Stream<Item = Result<Page>> + Send {
    stream::try_unfold(Cursor::Start, move |cursor| {
        // Made anew for each page: what was alive at the first may be dead by now.
        let filter = filter();
        let request = request
            .clone()
            .filter_expression(filter.text)
            .set_expression_attribute_names(Some(names.clone().into_iter().chain(filter.names).collect()))
            .set_expression_attribute_values(Some(filter.values).filter(|values| !values.is_empty()));
        let table = Arc::clone(&table);
        async move {
            let start = match cursor {
                Cursor::Start => None,
                Cursor::After(last) => Some(last),
                Cursor::End => return Ok(None),
            };
            let request = request.set_exclusive_start_key(start);
            let output = table.call("Scan", || request.clone().send()).await?;
            let next = match output.last_evaluated_key {
                Some(last) if !last.is_empty() => Cursor::After(last),
                _ => Cursor::End,
            };
            let count = u64::try_from(output.count).unwrap_or_default();
            Ok(Some((Page { items: output.items.unwrap_or_default().into(), count }, next)))
        }
    })
}
