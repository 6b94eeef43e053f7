# in.elastic, first part: units, the crystal, the size of the strains. Change this for another material.

variable        size index 2
variable        strain index 0.002         # of a box length; the constants are central differences
variable        force index 1.0e-5         # eV/A, to which atoms relax inside the strained cell

units           metal
variable        gpa equal 1.0e-4           # one bar
boundary        p p p
atom_style      atomic
atom_modify     map array
box             tilt large
lattice         diamond 5.43
region          box prism 0 ${size} 0 ${size} 0 ${size} 0 0 0
create_box      1 box
create_atoms    1 box
mass            1 28.0855
