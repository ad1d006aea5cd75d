// SPDX-License-Identifier: Apache-2.0
// Logging and dumping, driven by the environment variables of common/env.h. A front end may take the lines over (set_log_sink).
#pragma once
#include <sstream>
#include <string>
#include <string_view>

namespace tuyere {

enum class LogLevel : int { Error = 0, Warning = 1, Info = 2, Debug = 3, Trace = 4 };

using LogSink = void (*)(LogLevel level, const char* line, void* user);
/// Sends log lines to `sink` instead of stderr; nullptr restores stderr.
void set_log_sink(LogSink sink, void* user);
/// Whether a line of `level` from `file` is wanted (TUYERE_LOG). Cheap when logging is off.
bool log_enabled(LogLevel level, const char* file);
void log_line(LogLevel level, const char* file, int line, const std::string& text);

/// Whether topic ("network", "passes", "plan", ...) is named in TUYERE_DUMP.
bool dump_enabled(std::string_view topic);
/// Writes `text` to TUYERE_DUMP_DIR/NNN_<topic>_<name>.txt when the topic is enabled.
void dump(std::string_view topic, std::string_view name, const std::string& text);

}  // namespace tuyere

#define TUYERE_LOG(level, text)                                                           \
  do {                                                                                    \
    if (::tuyere::log_enabled(::tuyere::LogLevel::level, __FILE__)) {                     \
      std::ostringstream log_text_;                                                       \
      log_text_ << text;                                                                  \
      ::tuyere::log_line(::tuyere::LogLevel::level, __FILE__, __LINE__, log_text_.str()); \
    }                                                                                     \
  } while (0)
