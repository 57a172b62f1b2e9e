/* The subcommands; cli/main.c has them in one table. */
#pragma once

#include "cli/command.h"

extern const struct sp_command sp_command_worker, sp_command_dev, sp_command_run, sp_command_submit,
    sp_command_wait, sp_command_cancel, sp_command_settings, sp_command_providers,
    sp_command_workers, sp_command_dlq;
