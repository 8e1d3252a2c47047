# SPDX-License-Identifier: Apache-2.0
# How things are built: the libraries we use, our flags, and the functions whose names the
# CMakeLists.txt files read as lists.

option(RASAD_TESTS "Build the tests" ON)
option(RASAD_WERROR "Take warnings for errors" OFF)
option(RASAD_PLANTED_BUGS "Build with bugs that tests must find (core/base/planted.h)" OFF)
option(RASAD_FUZZ "Build the fuzz targets (clang only)" OFF)
set(RASAD_SANITIZE "" CACHE STRING "Sanitizers for everything: address,undefined or thread")

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(jsonc REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(confuse REQUIRED IMPORTED_TARGET libconfuse)
pkg_check_modules(microhttpd REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# Where things lie once installed, relative to the prefix. The build folder has the same layout, so
# that programs find their modules in both by their own place (base/install.h).
set(RASAD_PLUGIN_DIR "${CMAKE_INSTALL_LIBDIR}/rasad/plugins")
set(RASAD_COLLECTOR_DIR "${CMAKE_INSTALL_LIBDIR}/rasad/collectors")
set(RASAD_LIBEXEC_DIR "${CMAKE_INSTALL_LIBEXECDIR}/rasad")
# /etc for a system's prefix, PREFIX/etc for any other.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(RASAD_CONF_DIR "/etc/rasad")
else()
    set(RASAD_CONF_DIR "${CMAKE_INSTALL_SYSCONFDIR}/rasad")
endif()

# Our language, warnings and hardening; every target of ours links it.
add_library(rasad_flags INTERFACE)
target_compile_features(rasad_flags INTERFACE c_std_17)
target_compile_definitions(rasad_flags INTERFACE _GNU_SOURCE)
target_compile_options(
    rasad_flags
    INTERFACE -Wall
              -Wextra
              -Wpedantic
              -Wshadow
              -Wno-unused-parameter
              -fno-common
              -fstack-protector-strong
              $<$<BOOL:${RASAD_WERROR}>:-Werror>)
target_link_options(rasad_flags INTERFACE -Wl,-z,relro,-z,now,--as-needed)
if(RASAD_SANITIZE)
    target_compile_options(rasad_flags INTERFACE -fsanitize=${RASAD_SANITIZE}
                                                 -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(rasad_flags INTERFACE -fsanitize=${RASAD_SANITIZE})
else()
    target_compile_options(rasad_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE
                                                 -D_FORTIFY_SOURCE=2> -fstack-clash-protection)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
        target_compile_options(rasad_flags INTERFACE -fcf-protection)
    endif()
endif()

# What the sources may know of the build.
target_compile_definitions(
    rasad_flags INTERFACE RASAD_VERSION="${PROJECT_VERSION}" RASAD_PLUGIN_DIR="${RASAD_PLUGIN_DIR}"
                          RASAD_COLLECTOR_DIR="${RASAD_COLLECTOR_DIR}"
                          RASAD_LIBEXEC_DIR="${RASAD_LIBEXEC_DIR}"
                          $<$<BOOL:${RASAD_PLANTED_BUGS}>:RASAD_PLANTED_BUGS>)

# The two headers that others may include, and nothing else.
add_library(rasad_headers INTERFACE)
target_include_directories(rasad_headers INTERFACE "${CMAKE_SOURCE_DIR}/core/include"
                                                   "${CMAKE_SOURCE_DIR}/agent/include")

# rasad_library(NAME source...): a static library of ours; its folder is an include folder.
function(rasad_library name)
    add_library(${name} STATIC ${ARGN})
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_definitions(${name} PUBLIC RASAD_HOST)
    target_link_libraries(${name} PUBLIC rasad_flags rasad_headers)
endfunction()

# rasad_shared_library(NAME MAJOR source library...): libNAME.so.MAJOR, of a source with its public
# functions and what they need of static libraries of ours; libNAME.map beside it says what is
# exported. It stays loaded, since its threads may outlive a dlclose().
function(rasad_shared_library name major source)
    set(map "${CMAKE_CURRENT_SOURCE_DIR}/lib${name}.map")
    add_library(${name} SHARED ${source})
    target_compile_definitions(${name} PRIVATE RASAD_HOST)
    set_target_properties(
        ${name} PROPERTIES SOVERSION ${major} VERSION "${major}.${PROJECT_VERSION}"
                           LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${CMAKE_INSTALL_LIBDIR}"
                           LINK_DEPENDS "${map}")
    target_link_libraries(${name} PRIVATE rasad_flags ${ARGN})
    target_link_options(${name} PRIVATE "-Wl,--version-script=${map},-z,nodelete")
    if(NOT RASAD_SANITIZE)
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
    install(TARGETS ${name} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endfunction()

# rasad_program(NAME FOLDER source...): an executable that lies in FOLDER, built and installed.
function(rasad_program name folder)
    add_executable(${name} ${ARGN})
    set_target_properties(
        ${name} PROPERTIES POSITION_INDEPENDENT_CODE ON
                           RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
    target_compile_definitions(${name} PRIVATE RASAD_HOST)
    target_link_libraries(${name} PRIVATE rasad_flags)
    target_link_options(${name} PRIVATE -pie)
    install(TARGETS ${name} RUNTIME DESTINATION ${folder})
endfunction()

# A shared object with one public symbol that needs libc and libm only.
function(rasad_module name source folder output)
    add_library(${name} MODULE ${source})
    set_target_properties(
        ${name}
        PROPERTIES PREFIX ""
                   OUTPUT_NAME "${output}"
                   C_VISIBILITY_PRESET hidden
                   LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
    target_link_libraries(${name} PRIVATE rasad_flags rasad_headers m)
    if(NOT RASAD_SANITIZE)
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
    # The loader refuses what others may write, which is what a umask of 002 makes.
    add_custom_command(TARGET ${name} POST_BUILD COMMAND chmod go-w "$<TARGET_FILE:${name}>")
    install(TARGETS ${name} LIBRARY DESTINATION ${folder})
endfunction()

# rasad_plugin(gauge): plugins/gauge.c becomes gauge.so.
function(rasad_plugin name)
    rasad_module(plugin_${name} ${name}.c "${RASAD_PLUGIN_DIR}" ${name})
    set_property(GLOBAL APPEND PROPERTY RASAD_PLUGINS ${name})
endfunction()

# rasad_collector(cpu): agent/collectors/cpu.c becomes cpu.so.
function(rasad_collector name)
    rasad_module(collector_${name} ${name}.c "${RASAD_COLLECTOR_DIR}" ${name})
    set_property(GLOBAL APPEND PROPERTY RASAD_COLLECTORS ${name})
endfunction()

# rasad_manual(rasadd 8): the page rasadd.8, with our version in it, built and installed.
function(rasad_manual name section)
    set(folder "${CMAKE_INSTALL_MANDIR}/man${section}")
    configure_file("${name}.${section}" "${CMAKE_BINARY_DIR}/${folder}/${name}.${section}" @ONLY)
    install(FILES "${CMAKE_BINARY_DIR}/${folder}/${name}.${section}" DESTINATION "${folder}")
endfunction()

# rasad_manual_of_tables(rasad.conf 5 rasad-conf-page TARGETS target... WORDS word...): the same of a
# page that a program of the build makes of a template, and of what these targets contain.
function(rasad_manual_of_tables name section program)
    cmake_parse_arguments(PARSE_ARGV 3 of "" "" "TARGETS;WORDS")
    set(folder "${CMAKE_INSTALL_MANDIR}/man${section}")
    set(page "${CMAKE_BINARY_DIR}/${folder}/${name}.${section}")
    set(template "${CMAKE_CURRENT_BINARY_DIR}/${name}.${section}.in")
    configure_file("${name}.${section}.in" "${template}" @ONLY)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
    add_custom_command(
        OUTPUT "${page}"
        COMMAND ${program} "${template}" "${page}" ${of_WORDS}
        DEPENDS ${program} "${template}" ${of_TARGETS}
        VERBATIM)
    add_custom_target(${program}-made ALL DEPENDS "${page}")
    install(FILES "${page}" DESTINATION "${folder}")
endfunction()

# rasad_unit_test(gate library...): tests/unit/test_gate.c, as ctest unit.gate.
function(rasad_unit_test name)
    add_executable(test_${name} test_${name}.c)
    target_compile_definitions(test_${name} PRIVATE RASAD_HOST)
    target_link_libraries(test_${name} PRIVATE rasad_flags PkgConfig::cmocka ${ARGN})
    add_test(NAME unit.${name} COMMAND test_${name})
    set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120)
endfunction()

# rasad_fuzz_target(frame library...): tests/fuzz/fuzz_frame.c with libFuzzer, run for a moment
# over its corpus by ctest fuzz.frame.
function(rasad_fuzz_target name)
    add_executable(fuzz_${name} fuzz_${name}.c)
    target_compile_definitions(fuzz_${name} PRIVATE RASAD_HOST)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE rasad_flags ${ARGN})
    add_test(NAME fuzz.${name} COMMAND fuzz_${name} -max_total_time=10 -max_len=4096 -timeout=10
                                       "${CMAKE_CURRENT_BINARY_DIR}/corpus_${name}"
                                       "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
    file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/corpus_${name}"
         "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
endfunction()
