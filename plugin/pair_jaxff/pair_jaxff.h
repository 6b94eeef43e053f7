// pair_style jaxff: energies, forces and virials of a potential in a .jaxff file.

#ifndef LMP_PAIR_JAXFF_H
#define LMP_PAIR_JAXFF_H

#include "abi.h"
#include "pair.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace LAMMPS_NS {

class PairJaxff : public Pair {
 public:
  explicit PairJaxff(class LAMMPS *);
  ~PairJaxff() override;

  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;
  void finish() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

 private:
  // Neighbours inside the cutoff of one block of centres, row after row.
  struct Block {
    const int *centers = nullptr;
    int n = 0;
    std::vector<int> row_end;
    std::vector<int> neighbors;
    std::vector<double> vectors;    // r_j - r_i in the distance unit of LAMMPS
  };

  void open_model(const std::string &file);
  void map_types(int narg, char **arg);
  void check_special_bonds();
  void select_units();
  void collect_centers();
  void compute_blocks();
  void compute_layers();
  void prepare_layers();
  void prepare_cell();
  void compute_cell();
  void collect_halo();
  void fill_layered(const JaxffWorkspace &, int rows);
  void exchange_messages();
  int pack_messages(int n, int first, double *buf) const;
  void add_messages(int n, const int *indices, const double *buf);
  int message_doubles(int columns) const;
  int gather(const int *centers, int n);
  void compute_grid();
  void place_grid();
  void find_points();
  int gather_points(int start, int n);
  template <typename See> void for_points_near(const double *x, See see) const;
  template <typename Real> void scatter_points(const JaxffWorkspace &, const JaxffResult &);
  const JaxffWorkspace &workspace(int rows, int n_neighbors);
  template <typename Real> void fill(const JaxffWorkspace &, int rows);
  template <typename Real> void scatter(const JaxffWorkspace &, const JaxffResult &);
  void tally_virial(int i, int j, const double *r, const double *g);
  double *ghost_row(int j);
  [[noreturn]] void not_finite(int row);
  void require(int status);
  [[noreturn]] void stop(const std::string &message);
  void report(const std::string &text);
  // Books the phases of one call of the model that began at gather, model and scatter, and end now.
  void account(double gather, double model, double scatter, int compiled, double n_centers);

  JaxffTable *python = nullptr;
  JaxffModel model{};
  bool is_open = false;
  std::string file, precision = "single", device = "auto";
  int threads = 0;

  // Models with layers: messages are exchanged after each (comm), or a halo of layers x cutoff is evaluated as well.
  std::string exchange = "auto";
  bool halo = false;
  std::vector<int> depth_end;    // centres up to this many layers from an atom of this rank
  std::vector<Block> blocks;
  std::vector<JaxffWorkspace> spaces;
  JaxffExchange messages{};

  // Models that look from a grid: its points in this rank's part of the box, numbered with the first index fastest.
  struct {
    double step[3][3], origin[3], volume;    // lower triangular; volume of a grid cell in Å^3
    int32_t count[3];
    int begin[3], size[3];
  } grid{};
  std::vector<int64_t> points;         // those that see an atom
  std::vector<int64_t> point_end;      // of each point's atoms in point_atoms; one entry ahead
  std::vector<int> point_atoms;

  double energy_unit = 1.0, distance_unit = 1.0;    // eV and Å in the units of the run
  std::vector<int> species;            // of each atom type; -1 for NULL
  std::vector<double> reference;       // energy of each species, eV
  std::vector<int> centers;
  Block block;
  std::map<std::pair<int, int>, JaxffWorkspace> workspaces;

  // With newton off, LAMMPS neither clears nor returns what is added to ghost atoms: it is kept here and sent home.
  std::vector<double> ghosts;
  int ghost_stride = 0;

  double seconds_gather = 0, seconds_model = 0, seconds_scatter = 0, seconds_compile = 0;
  double evaluated = 0;    // centres
  int compilations = 0;
};

}    // namespace LAMMPS_NS

#endif
