// How a potential is evaluated in LAMMPS. One strategy for each way that abi.h names; pair_style jaxff calls it and asks
// no more about the model.

#ifndef JAXFF_STRATEGY_H
#define JAXFF_STRATEGY_H

#include "pointers.h"

#include <memory>
#include <string>

namespace LAMMPS_NS {

class PairJaxff;

class Strategy : protected Pointers {
 public:
  Strategy(LAMMPS *, PairJaxff &);
  ~Strategy() override = default;

  // What users are told when a potential is opened, after its banner; empty: nothing.
  virtual std::string note() const { return ""; }
  virtual bool gives_atom_virials() const { return true; }
  // Asks LAMMPS for neighbour lists and for room to communicate.
  virtual void init_style() {}
  // Adds energies, forces and virials of one step; the flags and sums are the pair style's.
  virtual void compute() = 0;
  virtual int pack_forward_comm(int n, const int *indices, double *buf);
  virtual void unpack_forward_comm(int n, int first, const double *buf);
  virtual int pack_reverse_comm(int n, int first, double *buf);
  virtual void unpack_reverse_comm(int n, const int *indices, const double *buf);
  virtual double memory_usage() const { return 0.0; }

 protected:
  // Room for messages of this many doubles an atom, both ways, whatever newton is.
  void reserve_communication(int doubles);

  PairJaxff &pair;
};

// The strategy that the pair style's open model declares.
std::unique_ptr<Strategy> make_strategy(LAMMPS *, PairJaxff &);

std::unique_ptr<Strategy> make_local(LAMMPS *, PairJaxff &);
std::unique_ptr<Strategy> make_layers(LAMMPS *, PairJaxff &);
std::unique_ptr<Strategy> make_grid(LAMMPS *, PairJaxff &);
std::unique_ptr<Strategy> make_cell(LAMMPS *, PairJaxff &);

}    // namespace LAMMPS_NS

#endif
