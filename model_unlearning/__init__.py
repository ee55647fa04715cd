"""Does a model made to forget differ in function as one retrained without the data does?"""
