# Writes the wrappers' texts as C arrays, so that the binary needs no files beside it. ASCII only.
# cmake -DOUT=<header> -DPYTHON=<file> -DJAVASCRIPT=<file> -P embed.cmake
set(text "/* Made from the wrappers by embed.cmake. */\n")
foreach(language PYTHON JAVASCRIPT)
  string(TOLOWER ${language} name)
  file(READ ${${language}} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "static const char ${name}_text[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
