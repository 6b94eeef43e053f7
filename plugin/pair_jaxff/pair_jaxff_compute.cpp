// One step of pair_style jaxff: gather neighbours into padded blocks, evaluate the model, scatter its gradient.

#include "pair_jaxff.h"

#include "atom.h"
#include "comm.h"
#include "force.h"
#include "neigh_list.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;

void PairJaxff::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  // Of a ghost: force, centroid virial, and where points share with it also its energy and virial.
  ghost_stride = force->newton ? 0 : model.spacing > 0.0 ? 19 : (cvflag_atom ? 12 : 3);
  ghosts.assign(static_cast<size_t>(ghost_stride) * atom->nghost, 0.0);

  if (model.whole_cell)
    compute_cell();
  else if (model.layers)
    compute_layers();
  else if (model.spacing > 0.0)
    compute_grid();
  else
    compute_blocks();
  if (ghost_stride) comm->reverse_comm(this, ghost_stride);
}

void PairJaxff::compute_blocks()
{
  collect_centers();
  int rows = 0;
  const int n_centers = centers.size();
  if (n_centers) require(python->block_rows(model.handle, n_centers, &rows));
  for (int start = 0; start < n_centers; start += rows) {
    double t0 = MPI_Wtime();
    int most = gather(&centers[start], std::min(rows, n_centers - start));
    const JaxffWorkspace &space = workspace(rows, most);
    if (model.real_bytes == 4)
      fill<float>(space, rows);
    else
      fill<double>(space, rows);

    double t1 = MPI_Wtime();
    JaxffResult result;
    require(python->evaluate(model.handle, space.index, &result));

    double t2 = MPI_Wtime();
    if (model.real_bytes == 4)
      scatter<float>(space, result);
    else
      scatter<double>(space, result);

    account(t0, t1, t2, result.compilations, block.n);
  }
}

void PairJaxff::account(double gather, double model, double scatter, int compiled, double n_centers)
{
  if (compiled != compilations)
    seconds_compile += scatter - model;
  else {
    seconds_gather += model - gather;
    seconds_model += scatter - model;
    seconds_scatter += MPI_Wtime() - scatter;
    evaluated += n_centers;
  }
  compilations = compiled;
}

void PairJaxff::collect_centers()
{
  centers.clear();
  centers.reserve(list->inum);
  for (int ii = 0; ii < list->inum; ii++)
    if (species[atom->type[list->ilist[ii]]] >= 0) centers.push_back(list->ilist[ii]);
}

// Fills `block` with the neighbours inside the cutoff; returns the largest number of them that a centre has.

int PairJaxff::gather(const int *first, int n)
{
  const double *const *x = atom->x;
  const int *type = atom->type;
  const double cutoff = model.cutoff * distance_unit;
  const double cutoff_squared = cutoff * cutoff;

  block.centers = first;
  block.n = n;
  block.row_end.resize(n);
  size_t room = 0;
  for (int row = 0; row < n; row++) room += list->numneigh[first[row]];
  if (block.neighbors.size() < room) {
    block.neighbors.resize(room);
    block.vectors.resize(3 * room);
  }

  int *neighbor = block.neighbors.data();
  double *vector = block.vectors.data();
  int most = 0, total = 0;
  for (int row = 0; row < n; row++) {
    const int i = first[row];
    const double xi = x[i][0], yi = x[i][1], zi = x[i][2];
    const int *candidates = list->firstneigh[i];
    const int begin = total;
    for (int jj = 0; jj < list->numneigh[i]; jj++) {
      const int j = candidates[jj] & NEIGHMASK;
      const double dx = x[j][0] - xi, dy = x[j][1] - yi, dz = x[j][2] - zi;
      const double r_squared = dx * dx + dy * dy + dz * dz;
      if (r_squared >= cutoff_squared) continue;    // a NaN distance goes on, and is named later
      if (species[type[j]] < 0) continue;
      if (r_squared == 0.0)
        stop(fmt::format("atoms {} and {} are at the same position", atom->tag[i], atom->tag[j]));
      neighbor[total] = j;
      vector[3 * total] = dx;
      vector[3 * total + 1] = dy;
      vector[3 * total + 2] = dz;
      total++;
    }
    block.row_end[row] = total;
    most = std::max(most, total - begin);
  }
  return most;
}

const JaxffWorkspace &PairJaxff::workspace(int rows, int n_neighbors)
{
  auto [at, is_new] = workspaces.try_emplace({rows, n_neighbors});
  if (is_new) require(python->workspace(model.handle, rows, n_neighbors, &at->second));
  return at->second;
}

template <typename Real> void PairJaxff::fill(const JaxffWorkspace &space, int rows)
{
  const int *type = atom->type;
  const double to_angstrom = 1.0 / distance_unit;
  const size_t width = space.width;
  auto *vectors = static_cast<Real *>(space.vectors);
  int k = 0;
  for (int row = 0; row < block.n; row++) {
    const size_t start = row * width;
    const int count = block.row_end[row] - k;
    for (int c = 0; c < 3 * count; c++) vectors[3 * start + c] = block.vectors[3 * k + c] * to_angstrom;
    for (int c = 0; c < count; c++) space.neighbor_species[start + c] = species[type[block.neighbors[k + c]]];
    memset(space.mask + start, 1, count);
    memset(space.mask + start + count, 0, width - count);
    space.species[row] = block.centers ? species[type[block.centers[row]]] : -1;
    k += count;
  }
  memset(space.mask + block.n * width, 0, (rows - block.n) * width);
}

template <typename Real> void PairJaxff::scatter(const JaxffWorkspace &space, const JaxffResult &result)
{
  double **f = atom->f;
  const int nlocal = atom->nlocal;
  const bool separate_ghosts = ghost_stride > 0;
  const double to_force = energy_unit / distance_unit;
  const auto *energies = static_cast<const Real *>(result.energies);
  const auto *gradient = static_cast<const Real *>(result.gradient);
  int k = 0;
  for (int row = 0; row < block.n; row++) {
    const int i = block.centers[row];
    const Real *g_row = gradient + 3 * static_cast<size_t>(row) * space.width;
    const int begin = k;
    double sum[3] = {0.0, 0.0, 0.0};
    for (const Real *g = g_row; k < block.row_end[row]; k++, g += 3) {
      const int j = block.neighbors[k];
      const double gx = g[0] * to_force, gy = g[1] * to_force, gz = g[2] * to_force;
      double *fj = separate_ghosts && j >= nlocal ? ghost_row(j) : f[j];
      fj[0] -= gx;
      fj[1] -= gy;
      fj[2] -= gz;
      sum[0] += gx;
      sum[1] += gy;
      sum[2] += gz;
    }
    f[i][0] += sum[0];
    f[i][1] += sum[1];
    f[i][2] += sum[2];

    const double energy = (energies[row] + reference[space.species[row]]) * energy_unit;
    if (!std::isfinite(energy + sum[0] + sum[1] + sum[2])) not_finite(row);
    if (i < nlocal) {    // the energy of a ghost is counted where it is owned
      if (eflag_global) eng_vdwl += energy;
      if (eflag_atom) eatom[i] += energy;
    }
    if (vflag_either)
      for (int m = begin; m < k; m++) {
        const Real *g = g_row + 3 * (m - begin);
        const double force_unit[3] = {g[0] * to_force, g[1] * to_force, g[2] * to_force};
        tally_virial(i, block.neighbors[m], &block.vectors[3 * m], force_unit);
      }
  }
}

// LAMMPS's virial is -sum of r outer g. vatom is the centre's share. cvatom belongs to the neighbour, on which -g acts at
// r from the centre: only so does the heat flux follow from it (Fan et al., PRB 92, 094301, eq. 22).

void PairJaxff::tally_virial(int i, int j, const double *r, const double *g)
{
  const double w[9] = {-r[0] * g[0], -r[1] * g[1], -r[2] * g[2], -r[0] * g[1], -r[0] * g[2],
                       -r[1] * g[2], -r[1] * g[0], -r[2] * g[0], -r[2] * g[1]};
  if (vflag_global)
    for (int c = 0; c < 6; c++) virial[c] += w[c];
  if (vflag_atom)
    for (int c = 0; c < 6; c++) vatom[i][c] += w[c];
  if (cvflag_atom) {
    double *row = ghost_stride && j >= atom->nlocal ? ghost_row(j) + 3 : cvatom[j];
    for (int c = 0; c < 9; c++) row[c] += w[c];
  }
}

double *PairJaxff::ghost_row(int j)
{
  return &ghosts[static_cast<size_t>(ghost_stride) * (j - atom->nlocal)];
}

void PairJaxff::not_finite(int row)
{
  const int i = block.centers[row];
  int nearest = -1;
  double shortest = HUGE_VAL;
  for (int k = row ? block.row_end[row - 1] : 0; k < block.row_end[row]; k++) {
    const double *r = &block.vectors[3 * k];
    const double distance = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    if (!(distance >= shortest)) {
      shortest = distance;
      nearest = block.neighbors[k];
    }
  }
  std::string who = nearest < 0
      ? "it has no neighbours"
      : fmt::format("its nearest neighbour is atom {} at a distance of {:.6g}", atom->tag[nearest], shortest);
  stop(fmt::format("the energy or force of atom {} is not a finite number; {}", atom->tag[i], who));
}

int PairJaxff::pack_reverse_comm(int n, int first, double *buf)
{
  if (messages.kind) return pack_messages(n, first, buf);
  const double *begin = ghost_row(first);
  std::copy(begin, begin + static_cast<size_t>(n) * ghost_stride, buf);
  return n * ghost_stride;
}

void PairJaxff::unpack_reverse_comm(int n, int *indices, double *buf)
{
  if (messages.kind) return add_messages(n, indices, buf);
  for (int m = 0; m < n; m++, buf += ghost_stride) {
    const int j = indices[m];
    if (j >= atom->nlocal) {    // a ghost on the way to its owner, which may be two domains away
      double *row = ghost_row(j);
      for (int c = 0; c < ghost_stride; c++) row[c] += buf[c];
      continue;
    }
    for (int c = 0; c < 3; c++) atom->f[j][c] += buf[c];
    if (cvflag_atom)
      for (int c = 0; c < 9; c++) cvatom[j][c] += buf[3 + c];
    if (ghost_stride < 19) continue;
    if (eflag_atom) eatom[j] += buf[12];
    if (vflag_atom)
      for (int c = 0; c < 6; c++) vatom[j][c] += buf[13 + c];
  }
}

// Used with layers as well.
template void PairJaxff::fill<float>(const JaxffWorkspace &, int);
template void PairJaxff::fill<double>(const JaxffWorkspace &, int);
template void PairJaxff::scatter<float>(const JaxffWorkspace &, const JaxffResult &);
template void PairJaxff::scatter<double>(const JaxffWorkspace &, const JaxffResult &);
