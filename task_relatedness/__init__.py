"""Task relatedness: do distances of 17 encoders rank tasks as transfer learning does?"""
