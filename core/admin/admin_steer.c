/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_steer.h"

#include <sysexits.h>

#include "admin/json_add.h"
#include "base/scoped.h"
#include "handover/upgrade.h"
#include "reload/plan.h"
#include "server.h"

static void write_plan(const struct plan *plan, struct text *out)
{
    json_add_open(out, NULL, '{');
    json_add_bool(out, "ok", true);
    json_add_open(out, "data", '[');
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];

        json_add_open(out, NULL, '{');
        json_add_string(out, "metric", row->metric);
        json_add_string(out, "action", row->action);
        json_add_string(out, "detail", row->detail);
        json_add_close(out, '}');
    }
    json_add_close(out, ']');
    json_add_close(out, '}');
    text_add_char(out, '\n');
}

void admin_steer(struct admin_client *client, const struct admin_request *request)
{
    SCOPED(text_free) struct text report = {0};
    SCOPED(plan_free) struct plan plan = {.rows = NULL};
    bool fine;

    if (request->verb == ADMIN_RELOAD) {
        log_info(client->server->log, "reload asked for", log_number("uid", client->uid),
                 log_number("pid", client->pid));
        fine = server_reload(client->server, &plan, &report);
    } else {
        fine = server_plan(client->server, request->file, &plan, &report);
    }
    if (fine)
        write_plan(&plan, &client->out);
    else
        admin_client_refuse(client, EX_CONFIG, "report", text_end(&report));
}

/* One line of our own is an error; what the new program says of the conf is a report. */
void admin_upgrade(struct admin_client *client)
{
    SCOPED(text_free) struct text report = {0};
    int code;

    log_info(client->server->log, "upgrade asked for", log_number("uid", client->uid),
             log_number("pid", client->pid));
    server_upgrade(client->server, client->fd, &code, &report);
    if (code != EX_CONFIG && report.length > 0 && report.at[report.length - 1] == '\n')
        report.length--;
    admin_client_refuse(client, code, code == EX_CONFIG ? "report" : "error", text_end(&report));
}
