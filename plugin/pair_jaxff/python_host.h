// The Python interpreter that evaluates the model: the one we run in, or one started inside LAMMPS.

#ifndef JAXFF_PYTHON_HOST_H
#define JAXFF_PYTHON_HOST_H

#include "abi.h"

#include <string>

namespace jaxff {

// The functions of jaxff.lammps.pair_jaxff.bridge, or nullptr and the reason in `error`. Cheap after the first success.
JaxffTable *python_table(std::string &error);

}    // namespace jaxff

#endif
