# Writes the wrappers' texts as C arrays, so that the binary needs no files beside it. ASCII only.
# cmake -DOUT=<header> -DPYTHON=<file> -DJAVASCRIPT=<file> -DSUPERVISOR=<file> -P embed.cmake
set(text "/* Made from the wrappers by embed.cmake. */\n")
foreach(wrapper PYTHON JAVASCRIPT SUPERVISOR)
  if(NOT DEFINED ${wrapper})
    continue()
  endif()
  string(TOLOWER ${wrapper} name)
  file(READ ${${wrapper}} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "__attribute__((unused)) static const char ${name}_text[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
