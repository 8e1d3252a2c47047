# A plugin author's whole CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)
project(peak LANGUAGES C)
find_package(rasad 0.1 REQUIRED)
add_library(peak MODULE peak.c)
target_link_libraries(peak PRIVATE rasad::plugin)
set_target_properties(peak PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden)
install(TARGETS peak DESTINATION "${rasad_PLUGIN_DIR}")
