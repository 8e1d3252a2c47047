/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/scrape.h"

#include "base/clock.h"
#include "exporter/exposition.h"
#include "exporter/gather.h"
#include "exporter/process.h"
#include "exporter/self.h"

static const char *const kind_names[] = {
    [RASAD_GAUGE] = "gauge",
    [RASAD_COUNTER] = "counter",
    [RASAD_HISTOGRAM] = "histogram",
    [RASAD_SUMMARY] = "summary",
};

/* What writing a family works with. */
struct page {
    struct text *out;
    struct text created; /* lines of the family's _created, which follow */
    struct gather gather;
};

/* Writes one series, and its lines of the _created family into page->created. */
static void add_series(void *context, const struct gathered *gathered)
{
    struct page *page = context;
    const struct family *family = gathered->family;

    exposition_series(page->out, family->name, family->api->kind, gathered->labels,
                      gathered->points);
    if (family->api->kind != RASAD_GAUGE)
        exposition_created(&page->created, family->name, gathered->labels, gathered->points,
                           clock_seconds(gathered->created_ns));
}

static void add_family(struct page *page, struct family *family, const struct filter *filter)
{
    size_t start = page->out->length, body;

    text_clear(&page->created);
    exposition_head(page->out, family->name, family->api->kind == RASAD_COUNTER ? "_total" : "",
                    kind_names[family->api->kind], family->metric->help);
    body = page->out->length;
    gather_family(&page->gather, family);
    if (page->out->length == body || !filter_wants(filter, family->name))
        page->out->length = start; /* it has nothing to show, or nobody wants to see it */
    if (page->created.length > 0 && filter_wants_created(filter, family->name)) {
        exposition_head(page->out, family->name, "_created", "gauge",
                        "When the series began, in seconds since 1970.");
        text_add(page->out, page->created.at, page->created.length);
    }
    page->out->failed |= page->created.failed || page->gather.failed;
}

static void add_families(struct page *page, const struct scrape_source *source,
                         const struct filter *filter)
{
    uint32_t count = families_count(source->families);

    page->gather.conf = source->conf;
    for (uint32_t id = 0; id < count; id++) {
        struct family *family = families_at(source->families, id);

        if (family != NULL &&
            (filter_wants(filter, family->name) || filter_wants_created(filter, family->name)))
            add_family(page, family, filter);
    }
}

void scrape_write(struct scrape_source *source, const struct filter *filter, struct text *out)
{
    int64_t start_ns = clock_steady_ns();
    struct page page = {.out = out};

    (void)publisher_refresh(source->publisher);
    page.gather = gather_make();
    page.gather.view = source->view;
    page.gather.take = add_series;
    page.gather.context = &page;
    view_begin(source->view);
    add_families(&page, source, filter);
    self_metrics(source, filter, out);
    view_end(source->view);
    process_metrics(out, filter);
    text_free(&page.created);
    gather_free(&page.gather);
    timing_add(&source->took, clock_steady_ns() - start_ns);
}
