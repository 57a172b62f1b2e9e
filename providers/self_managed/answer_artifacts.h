/* The artifacts of an executor manager's answer: items {name, mime_type, size, content_b64}. */
#pragma once

#include "base/json_slice.h"
#include "providers/artifacts.h"

/*
 * Adds the items of the array to *out. They are checked as if they lay in a folder here, whatever
 * the manager has checked; each refused one is named with its reason. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_service_answer_artifacts(const struct sp_json_value *array,
                                                       const struct sp_artifact_rules *rules,
                                                       struct sp_result *out);
