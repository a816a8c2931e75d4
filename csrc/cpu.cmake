# The CPU kernels as the target cpu_kernels: of them _cpu is made, and tests/sanitize.
set(SNN_CSRC ${CMAKE_CURRENT_LIST_DIR})
find_package(OpenMP COMPONENTS CXX)

# Spikes equal the reference bit for bit: no multiply-add may be contracted.
add_library(options INTERFACE)
target_include_directories(options INTERFACE ${SNN_CSRC})
target_compile_options(options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
if(SNNKERN_WERROR)
  target_compile_options(options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror>")
endif()

# kernels/*_isa.cpp are compiled once per instruction set, each in a namespace SNN_ISA of its own.
option(SNNKERN_PLAIN "Of the CPU kernels only those that any processor runs" OFF)
set(SNN_ISAS plain)
if(NOT SNNKERN_PLAIN AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND SNN_ISAS avx2 avx512)
  set(SNN_X86 1)
endif()
set(SNN_FLAGS_plain "")
set(SNN_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(SNN_FLAGS_avx512 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mf16c -mprefer-vector-width=512)

add_library(cpu_options INTERFACE)
target_link_libraries(cpu_options INTERFACE options)
if(SNN_X86)
  target_compile_definitions(cpu_options INTERFACE SNN_X86=1)
endif()
if(OpenMP_CXX_FOUND)
  target_link_libraries(cpu_options INTERFACE OpenMP::OpenMP_CXX)
endif()

file(GLOB CPU_SOURCES CONFIGURE_DEPENDS ${SNN_CSRC}/kernels/*_cpu.cpp)
file(GLOB ISA_SOURCES CONFIGURE_DEPENDS ${SNN_CSRC}/kernels/*_isa.cpp)
# Sums over events come in no order that a reference has: there a multiply-add is as good, and half of the time.
set_source_files_properties(${SNN_CSRC}/kernels/events_isa.cpp ${SNN_CSRC}/kernels/event_grad_isa.cpp
                            PROPERTIES COMPILE_OPTIONS -ffp-contract=fast)
add_library(cpu_kernels INTERFACE)
target_sources(cpu_kernels INTERFACE ${CPU_SOURCES})
target_link_libraries(cpu_kernels INTERFACE cpu_options)
foreach(isa ${SNN_ISAS})
  add_library(isa_${isa} OBJECT ${ISA_SOURCES})
  target_link_libraries(isa_${isa} PRIVATE cpu_options)
  target_compile_definitions(isa_${isa} PRIVATE SNN_ISA=${isa})
  target_compile_options(isa_${isa} PRIVATE ${SNN_FLAGS_${isa}} -fno-math-errno -fno-trapping-math)
  target_sources(cpu_kernels INTERFACE $<TARGET_OBJECTS:isa_${isa}>)
endforeach()
