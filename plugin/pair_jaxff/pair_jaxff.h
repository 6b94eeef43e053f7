// pair_style jaxff: energies, forces and virials of a potential in a .jaxff file.

#ifndef LMP_PAIR_JAXFF_H
#define LMP_PAIR_JAXFF_H

#include "abi.h"
#include "atom_errors.h"
#include "pair.h"
#include "strategy.h"

#include <memory>
#include <string>
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
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;

  // What a strategy works with. Units, and the species of each atom type, are those of the run.
  JaxffTable *python = nullptr;
  JaxffModel model{};
  std::string file;
  std::string exchange;             // comm, halo or auto
  std::vector<int> species;         // of each atom type; -1 for NULL
  std::vector<double> reference;    // energy of each species, eV
  double energy_unit = 1.0, distance_unit = 1.0;    // one eV and one Å
  int compilations = 0;
  AtomErrors errors;

  void require(int status);
  [[noreturn]] void stop(const std::string &message);
  // Books the phases of one call of the model that began at gather, model and scatter, and end now.
  void account(double gather, double model, double scatter, int compiled, double n_centers);

 private:
  struct NodeRank {
    int rank = 0, ranks = 1;
  };

  void set_defaults();
  NodeRank node_rank() const;
  void open_model(const std::string &file, int narg, char **symbols);
  void close_model();
  void tell_needs();
  void map_types(int narg, char **arg);
  void select_units();
  void report(const std::string &text);

  std::string precision, device;
  int threads = 0;
  bool is_open = false;
  std::unique_ptr<Strategy> strategy;

  double seconds_gather = 0, seconds_model = 0, seconds_scatter = 0, seconds_compile = 0;
  double evaluated = 0;    // centres
};

}    // namespace LAMMPS_NS

#endif
