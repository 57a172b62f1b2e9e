/*
 * The templates that sandboxes are made from: looked up by name once, made where they are missing,
 * and remembered as ready for as long as the provider is open (reference aliyun-agentrun 2.2).
 */
#pragma once

#include "base/request.h"
#include "providers/aliyun_codeinterpreter/agentrun.h"

struct sp_templates;

/* name: "" for RAGFlow's default of each language; must live on. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_templates_new(struct sp_agentrun *service, const char *name,
                                            struct sp_templates **out, struct sp_error *err);
void sp_templates_free(struct sp_templates *templates);
SP_AUTO(struct sp_templates *, sp_templates_free)

/* Of the sandboxes for a language. As long-lived as templates. */
const char *sp_template_name(const struct sp_templates *templates, enum sp_language language);
/*
 * Waits until the template is ready. SP_E_INVALID names the template and its state; SP_E_TIMEOUT,
 * SP_E_CANCELLED, else as sp_agentrun_do(). Thread: any; one asks the service while the others
 * wait. Blocks: until time->deadline.
 */
SP_MUST_CHECK enum sp_code sp_template_ready(struct sp_templates *templates,
                                             enum sp_language language,
                                             const struct sp_agentrun_time *time,
                                             struct sp_error *err);
/* The service says that it is not there: it is looked up again the next time. */
void sp_template_forget(struct sp_templates *templates, enum sp_language language);
