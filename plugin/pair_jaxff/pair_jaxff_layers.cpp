// Models with layers: each atom's features depend on its neighbours', which other ranks may own.
//
// Evaluated layer by layer. Between two layers the features that atoms send, one row an atom, are copied from owners to
// ghosts; on the way back the gradients of ghosts' rows are added to their owners'. All ranks do so equally often, also one
// without atoms. Or, as the check of this and without it: ghosts are centres too, as deep as the layers reach.

#include "pair_jaxff.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"

#include <algorithm>
#include <cstring>

using namespace LAMMPS_NS;

void PairJaxff::prepare_layers()
{
  halo = model.layers > 1 && exchange == "halo";
  ghostneigh = halo;
  comm_forward = comm_reverse = message_doubles(model.message_columns);
  comm_reverse_off = std::max(19, comm_reverse);
  if (model.layers > 1)
    report(halo ? fmt::format("pair_style jaxff: {} layers on a halo {} cutoffs deep (exchange halo)", model.layers, model.layers)
                : fmt::format("pair_style jaxff: {} layers, {} numbers an atom exchanged between ranks after each (exchange comm{})",
                              model.layers, model.message_columns, exchange == "auto" ? ", chosen automatically" : ""));
}

void PairJaxff::compute_layers()
{
  if (halo)
    collect_halo();
  else {
    collect_centers();
    depth_end.assign(model.layers, static_cast<int>(centers.size()));
  }

  double t0 = MPI_Wtime();
  const int n_centers = centers.size();
  int rows = 1;
  if (n_centers) require(python->block_rows(model.handle, n_centers, &rows));
  const int n_blocks = (n_centers + rows - 1) / rows;
  if (static_cast<int>(blocks.size()) < n_blocks) {
    blocks.resize(n_blocks);
    spaces.resize(n_blocks);
  }
  int most = 0;
  for (int b = 0; b < n_blocks; b++) {
    std::swap(block, blocks[b]);
    most = std::max(most, gather(&centers[b * rows], std::min(rows, n_centers - b * rows)));
    std::swap(block, blocks[b]);
  }
  for (int b = 0; b < n_blocks; b++) {
    std::swap(block, blocks[b]);
    require(python->block(model.handle, b, rows, most, &spaces[b]));
    if (model.real_bytes == 4)
      fill<float>(spaces[b], rows);
    else
      fill<double>(spaces[b], rows);
    fill_layered(spaces[b], rows);
    std::swap(block, blocks[b]);
  }

  double t1 = MPI_Wtime();
  std::vector<int32_t> needed;
  for (int t = 0; t < model.layers; t++) needed.push_back((depth_end[model.layers - 1 - t] + rows - 1) / rows);
  require(python->start(model.handle, n_blocks, static_cast<int64_t>(atom->nlocal) + atom->nghost, needed.data()));
  for (;;) {
    require(python->advance(model.handle, &messages));
    if (messages.kind == JAXFF_FINISHED) break;
    if (!halo) exchange_messages();
  }

  double t2 = MPI_Wtime();
  int compiled = compilations;
  for (int b = 0; b < n_blocks; b++) {
    JaxffResult result;
    require(python->result(model.handle, b, &result));
    std::swap(block, blocks[b]);
    if (model.real_bytes == 4)
      scatter<float>(spaces[b], result);
    else
      scatter<double>(spaces[b], result);
    std::swap(block, blocks[b]);
    compiled = result.compilations;
  }
  account(t0, t1, t2, compiled, halo ? depth_end[0] : n_centers);
}

// Own atoms, then ghosts in the order of their depth: how many cutoffs away from an own atom, along neighbours.

void PairJaxff::collect_halo()
{
  collect_centers();
  const double *const *x = atom->x;
  const double cutoff = model.cutoff * distance_unit;
  std::vector<char> known(atom->nlocal + atom->nghost, 0);
  for (int i : centers) known[i] = 1;
  depth_end.assign(1, static_cast<int>(centers.size()));
  for (int depth = 1, begin = 0; depth < model.layers; depth++) {
    const int end = centers.size();
    for (int c = begin; c < end; c++) {
      const int i = centers[c];
      for (int jj = 0; jj < list->numneigh[i]; jj++) {
        const int j = list->firstneigh[i][jj] & NEIGHMASK;
        const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
        if (known[j] || species[atom->type[j]] < 0 || dx * dx + dy * dy + dz * dz >= cutoff * cutoff) continue;
        known[j] = 1;
        centers.push_back(j);
      }
    }
    begin = end;
    depth_end.push_back(static_cast<int>(centers.size()));
  }
}

void PairJaxff::fill_layered(const JaxffWorkspace &space, int rows)
{
  int k = 0;
  for (int row = 0; row < rows; row++) {
    const bool used = row < block.n;
    const int i = used ? block.centers[row] : -1;
    space.centers[row] = i;
    const bool counts = used && i < atom->nlocal;
    if (model.real_bytes == 4)
      static_cast<float *>(space.weights)[row] = counts;
    else
      static_cast<double *>(space.weights)[row] = counts;
    if (!used) continue;
    const int count = block.row_end[row] - k;
    std::copy_n(&block.neighbors[k], count, space.neighbors + static_cast<size_t>(row) * space.width);
    k += count;
  }
}

void PairJaxff::exchange_messages()
{
  const int size = message_doubles(messages.columns);
  if (messages.kind == JAXFF_FORWARD)
    comm->forward_comm(this, size);
  else
    comm->reverse_comm(this, size);
  messages.kind = JAXFF_FINISHED;
}

// Rows travel as they are, in the compute type, padded to whole doubles.

int PairJaxff::message_doubles(int columns) const
{
  return (columns * model.real_bytes + 7) / 8;
}

int PairJaxff::pack_forward_comm(int n, int *indices, double *buf, int, int *)
{
  const size_t bytes = static_cast<size_t>(messages.columns) * model.real_bytes;
  const int size = message_doubles(messages.columns);
  const char *rows = static_cast<const char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(buf + static_cast<size_t>(m) * size, rows + indices[m] * bytes, bytes);
  return n * size;
}

void PairJaxff::unpack_forward_comm(int n, int first, double *buf)
{
  const size_t bytes = static_cast<size_t>(messages.columns) * model.real_bytes;
  const int size = message_doubles(messages.columns);
  char *rows = static_cast<char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(rows + (first + m) * bytes, buf + static_cast<size_t>(m) * size, bytes);
}

int PairJaxff::pack_messages(int n, int first, double *buf) const
{
  const size_t bytes = static_cast<size_t>(messages.columns) * model.real_bytes;
  const int size = message_doubles(messages.columns);
  const char *rows = static_cast<const char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(buf + static_cast<size_t>(m) * size, rows + (first + m) * bytes, bytes);
  return n * size;
}

namespace {

template <typename Real> void add_rows(int n, const int *indices, const double *buf, void *array, int columns, int size)
{
  for (int m = 0; m < n; m++) {
    Real *row = static_cast<Real *>(array) + static_cast<size_t>(indices[m]) * columns;
    const Real *sent = reinterpret_cast<const Real *>(buf + static_cast<size_t>(m) * size);
    for (int c = 0; c < columns; c++) row[c] += sent[c];
  }
}

}    // namespace

void PairJaxff::add_messages(int n, const int *indices, const double *buf)
{
  const int size = message_doubles(messages.columns);
  if (model.real_bytes == 4)
    add_rows<float>(n, indices, buf, messages.array, messages.columns, size);
  else
    add_rows<double>(n, indices, buf, messages.array, messages.columns, size);
}
