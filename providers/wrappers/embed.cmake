# Writes the wrappers' texts as C arrays, so that the binary needs no files beside it. ASCII only.
# cmake -DOUT=<header> -DFOLDER=<of the files> -P embed.cmake
set(python python_program.py sandpiper_run.py)
set(python_cell python_program.py sandpiper_cell.py)
set(javascript javascript_program.cjs sandpiper_run.cjs)
set(javascript_cell javascript_program.cjs sandpiper_cell.cjs)

set(text "/* Made from the wrappers by embed.cmake. */\n")
foreach(name python python_cell javascript javascript_cell)
  set(bytes "")
  foreach(file ${${name}})
    file(READ ${FOLDER}/${file} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," hex "${hex}")
    string(APPEND bytes "${hex}")
  endforeach()
  string(APPEND text "static const char ${name}_text[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
