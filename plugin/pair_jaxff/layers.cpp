// Models with layers: each atom's features depend on its neighbours', which other ranks may own.
//
// Evaluated layer by layer. Between two layers the features that atoms send, one row an atom, are copied from owners to
// ghosts; on the way back the gradients of ghosts' rows are added to their owners'. All ranks do so equally often, also one
// without atoms. Or, as the check of this and without it: ghosts are centres too, as deep as the layers reach.

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "gather.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_jaxff.h"

#include <algorithm>
#include <cstring>

using namespace LAMMPS_NS;

namespace {

class Layers : public BlockStrategy {
 public:
  Layers(LAMMPS *, PairJaxff &);

  std::string note() const override;
  void init_style() override;
  void compute() override;
  int pack_forward_comm(int n, const int *indices, double *buf) override;
  void unpack_forward_comm(int n, int first, const double *buf) override;
  int pack_reverse_comm(int n, int first, double *buf) override;
  void unpack_reverse_comm(int n, const int *indices, const double *buf) override;
  double memory_usage() const override;

 private:
  void collect_halo();
  void gather_blocks(int rows);
  void fill_layered(const Block &, const JaxffWorkspace &, int rows);
  void evaluate(int rows);
  void exchange_messages();
  int message_doubles(int columns) const;

  const int n_layers;
  const bool halo;
  std::vector<int> depth_end;    // centres up to this many layers from an atom of this rank
  std::vector<int32_t> needed;    // blocks that each layer is evaluated on
  std::vector<Block> blocks;      // those of one step, n_blocks of them in use
  std::vector<JaxffWorkspace> spaces;
  int n_blocks = 0;
  JaxffExchange messages{};    // on their way, or of kind FINISHED
};

Layers::Layers(LAMMPS *lmp, PairJaxff &owner)
    : BlockStrategy(lmp, owner), n_layers(owner.model.layers), halo(n_layers > 1 && owner.exchange == "halo")
{
  pair.ghostneigh = halo;
}

std::string Layers::note() const
{
  if (n_layers == 1) return "";
  if (halo) return fmt::format("pair_style jaxff: {} layers on a halo {} cutoffs deep (exchange halo)", n_layers, n_layers);
  return fmt::format("pair_style jaxff: {} layers, {} numbers an atom exchanged between ranks after each (exchange comm{})", n_layers,
                     pair.model.message_columns, pair.exchange == "auto" ? ", chosen automatically" : "");
}

void Layers::init_style()
{
  request_neighbors(halo ? NeighConst::REQ_GHOST : 0);
  reserve_communication(message_doubles(pair.model.message_columns));
  if (halo) {
    if (!force->newton_pair) error->all(FLERR, "pair_style jaxff exchange halo needs newton on; use exchange comm");
    const double depth = n_layers * pair.model.cutoff * pair.distance_unit + neighbor->skin;
    comm->cutghostuser = std::max(comm->cutghostuser, depth);
  }
}

void Layers::compute()
{
  ghosts.begin(pair.cvflag_atom ? GhostRows::ENERGY : GhostRows::CENTROID_VIRIAL);
  collect_centers();
  depth_end.assign(n_layers, static_cast<int>(centers.size()));
  if (halo) collect_halo();

  const double t0 = MPI_Wtime();
  const int n_centers = centers.size();
  int rows = 1;
  if (n_centers) pair.require(pair.python->block_rows(pair.model.handle, n_centers, &rows));
  gather_blocks(rows);

  const double t1 = MPI_Wtime();
  evaluate(rows);

  const double t2 = MPI_Wtime();
  int compiled = pair.compilations;
  for (int b = 0; b < n_blocks; b++) {
    JaxffResult result;
    pair.require(pair.python->result(pair.model.handle, b, &result));
    scatter(blocks[b], spaces[b], result);
    compiled = result.compilations;
  }
  pair.account(t0, t1, t2, compiled, depth_end[0]);
  ghosts.send_home();
}

// Own atoms, then ghosts in the order of their depth: how many cutoffs away from an own atom, along neighbours.

void Layers::collect_halo()
{
  const double *const *x = atom->x;
  const NeighList *list = pair.list;
  const double cutoff = pair.model.cutoff * pair.distance_unit;
  std::vector<char> known(atom->nlocal + atom->nghost, 0);
  for (int i : centers) known[i] = 1;
  for (int depth = 1, begin = 0; depth < n_layers; depth++) {
    const int end = centers.size();
    for (int c = begin; c < end; c++) {
      const int i = centers[c];
      for (int jj = 0; jj < list->numneigh[i]; jj++) {
        const int j = list->firstneigh[i][jj] & NEIGHMASK;
        const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
        if (known[j] || pair.species[atom->type[j]] < 0 || dx * dx + dy * dy + dz * dz >= cutoff * cutoff) continue;
        known[j] = 1;
        centers.push_back(j);
      }
    }
    begin = end;
    depth_end[depth] = centers.size();
  }
}

void Layers::gather_blocks(int rows)
{
  const int n_centers = centers.size();
  n_blocks = (n_centers + rows - 1) / rows;
  if (static_cast<int>(blocks.size()) < n_blocks) {
    blocks.resize(n_blocks);
    spaces.resize(n_blocks);
  }
  int most = 0;
  for (int b = 0; b < n_blocks; b++)
    most = std::max(most, gather(blocks[b], &centers[b * rows], std::min(rows, n_centers - b * rows)));
  for (int b = 0; b < n_blocks; b++) {
    pair.require(pair.python->block(pair.model.handle, b, rows, most, &spaces[b]));
    fill(blocks[b], spaces[b], rows);
    fill_layered(blocks[b], spaces[b], rows);
  }
}

void Layers::fill_layered(const Block &block, const JaxffWorkspace &space, int rows)
{
  int k = 0;
  for (int row = 0; row < rows; row++) {
    const bool used = row < block.n;
    const int i = used ? block.centers[row] : -1;
    space.centers[row] = i;
    const bool counts = used && i < atom->nlocal;
    if (pair.model.real_bytes == 4)
      static_cast<float *>(space.weights)[row] = counts;
    else
      static_cast<double *>(space.weights)[row] = counts;
    if (!used) continue;
    const int count = block.row_end[row] - k;
    std::copy_n(&block.neighbors[k], count, space.neighbors + static_cast<size_t>(row) * space.width);
    k += count;
  }
}

void Layers::evaluate(int rows)
{
  needed.clear();
  for (int t = 0; t < n_layers; t++) needed.push_back((depth_end[n_layers - 1 - t] + rows - 1) / rows);
  const int64_t n_atoms = static_cast<int64_t>(atom->nlocal) + atom->nghost;
  pair.require(pair.python->start(pair.model.handle, n_blocks, n_atoms, needed.data(), pair.errors.wanted()));
  for (;;) {
    pair.require(pair.python->advance(pair.model.handle, &messages));
    if (messages.kind == JAXFF_FINISHED) break;
    if (!halo) exchange_messages();
  }
}

void Layers::exchange_messages()
{
  const int size = message_doubles(messages.columns);
  if (messages.kind == JAXFF_FORWARD)
    comm->forward_comm(&pair, size);
  else
    comm->reverse_comm(&pair, size);
  messages.kind = JAXFF_FINISHED;
}

// Rows travel as they are, in the compute type, padded to whole doubles.

int Layers::message_doubles(int columns) const
{
  return (columns * pair.model.real_bytes + 7) / 8;
}

int Layers::pack_forward_comm(int n, const int *indices, double *buf)
{
  const size_t bytes = static_cast<size_t>(messages.columns) * pair.model.real_bytes;
  const int size = message_doubles(messages.columns);
  const char *rows = static_cast<const char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(buf + static_cast<size_t>(m) * size, rows + indices[m] * bytes, bytes);
  return n * size;
}

void Layers::unpack_forward_comm(int n, int first, const double *buf)
{
  const size_t bytes = static_cast<size_t>(messages.columns) * pair.model.real_bytes;
  const int size = message_doubles(messages.columns);
  char *rows = static_cast<char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(rows + (first + m) * bytes, buf + static_cast<size_t>(m) * size, bytes);
}

int Layers::pack_reverse_comm(int n, int first, double *buf)
{
  if (messages.kind == JAXFF_FINISHED) return BlockStrategy::pack_reverse_comm(n, first, buf);
  const size_t bytes = static_cast<size_t>(messages.columns) * pair.model.real_bytes;
  const int size = message_doubles(messages.columns);
  const char *rows = static_cast<const char *>(messages.array);
  for (int m = 0; m < n; m++) memcpy(buf + static_cast<size_t>(m) * size, rows + (first + m) * bytes, bytes);
  return n * size;
}

template <typename Real> void add_rows(int n, const int *indices, const double *buf, void *array, int columns, int size)
{
  for (int m = 0; m < n; m++) {
    Real *row = static_cast<Real *>(array) + static_cast<size_t>(indices[m]) * columns;
    const Real *sent = reinterpret_cast<const Real *>(buf + static_cast<size_t>(m) * size);
    for (int c = 0; c < columns; c++) row[c] += sent[c];
  }
}

void Layers::unpack_reverse_comm(int n, const int *indices, const double *buf)
{
  if (messages.kind == JAXFF_FINISHED) return BlockStrategy::unpack_reverse_comm(n, indices, buf);
  const int size = message_doubles(messages.columns);
  if (pair.model.real_bytes == 4)
    add_rows<float>(n, indices, buf, messages.array, messages.columns, size);
  else
    add_rows<double>(n, indices, buf, messages.array, messages.columns, size);
}

double Layers::memory_usage() const
{
  double bytes = BlockStrategy::memory_usage();
  for (const auto &block : blocks) bytes += block.memory_usage();
  return bytes;
}

}    // namespace

std::unique_ptr<Strategy> LAMMPS_NS::make_layers(LAMMPS *lmp, PairJaxff &pair)
{
  return std::make_unique<Layers>(lmp, pair);
}
