#include "ghosts.h"

#include "atom.h"
#include "comm.h"
#include "force.h"
#include "pair_jaxff.h"

#include <algorithm>

using namespace LAMMPS_NS;

GhostRows::GhostRows(LAMMPS *lmp, PairJaxff &owner) : Pointers(lmp), pair(owner) {}

// newton_pair decides, not newton, which newton_bond alone can set: r-RESPA returns ghosts' forces level by level, and
// hybrid styles take ghosts' energies and virials over, by newton_pair. Where newton is on but newton_pair off, what
// LAMMPS returns beside these rows are zeros.

void GhostRows::begin(int columns)
{
  stride = force->newton_pair ? 0 : columns;
  first_ghost = atom->nlocal;
  rows.assign(static_cast<size_t>(stride) * atom->nghost, 0.0);
}

void GhostRows::send_home()
{
  if (stride) comm->reverse_comm(&pair, stride);
}

int GhostRows::pack(int n, int first, double *buf)
{
  const double *begin = row(first);
  std::copy(begin, begin + static_cast<size_t>(n) * stride, buf);
  return n * stride;
}

void GhostRows::unpack(int n, const int *indices, const double *buf)
{
  for (int m = 0; m < n; m++, buf += stride) {
    const int j = indices[m];
    if (j >= first_ghost) {    // a ghost on the way to its owner, which may be two domains away
      double *to = row(j);
      for (int c = 0; c < stride; c++) to[c] += buf[c];
      continue;
    }
    for (int c = 0; c < 3; c++) atom->f[j][c] += buf[FORCE + c];
    if (stride > CENTROID_VIRIAL && pair.cvflag_atom)
      for (int c = 0; c < 9; c++) pair.cvatom[j][c] += buf[CENTROID_VIRIAL + c];
    if (stride > ENERGY && pair.eflag_atom) pair.eatom[j] += buf[ENERGY];
    if (stride > VIRIAL && pair.vflag_atom)
      for (int c = 0; c < 6; c++) pair.vatom[j][c] += buf[VIRIAL + c];
  }
}
