#include "strategy.h"

#include "error.h"
#include "force.h"
#include "pair_jaxff.h"

#include <algorithm>

using namespace LAMMPS_NS;

Strategy::Strategy(LAMMPS *lmp, PairJaxff &owner) : Pointers(lmp), pair(owner) {}

int Strategy::pack_forward_comm(int, const int *, double *)
{
  return 0;
}

void Strategy::unpack_forward_comm(int, int, const double *) {}

int Strategy::pack_reverse_comm(int, int, double *)
{
  return 0;
}

void Strategy::unpack_reverse_comm(int, const int *, const double *) {}

// LAMMPS sizes its buffers by the pair style that it runs, which may be a hybrid. A hybrid takes these numbers over before
// any potential is open, so they are raised here: every init_style() comes before Comm::init().

void Strategy::reserve_communication(int doubles)
{
  for (Pair *style : {static_cast<Pair *>(&pair), force->pair}) {
    style->comm_forward = std::max(style->comm_forward, doubles);
    style->comm_reverse = std::max(style->comm_reverse, doubles);
    style->comm_reverse_off = std::max(style->comm_reverse_off, doubles);
  }
}

std::unique_ptr<Strategy> LAMMPS_NS::make_strategy(LAMMPS *lmp, PairJaxff &pair)
{
  switch (pair.model.strategy) {
    case JAXFF_LOCAL: return make_local(lmp, pair);
    case JAXFF_LAYERS: return make_layers(lmp, pair);
    case JAXFF_GRID: return make_grid(lmp, pair);
    case JAXFF_CELL: return make_cell(lmp, pair);
  }
  lmp->error->all(FLERR, "pair_style jaxff cannot evaluate strategy {} of {}; install jaxff again", pair.model.strategy, pair.file);
  return nullptr;
}
